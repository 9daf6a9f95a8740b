//! The one thread that computes, and the queue before it.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use tokio::sync::{mpsc, oneshot};

use super::Limits;
use super::error::ApiError;
use super::kept_images::{ImageSize, KeptImages};
use super::request::{Asked, Question};
use crate::data::sample::Task;
use crate::error::{Error, Result};
use crate::model::language::decoding::Decoding;
use crate::tasks::predictor::{EncodedImages, Predictor};
use crate::tasks::streaming::StreamedWord;
use crate::tasks::{Description, Detection, Location, Narration};

/// What a task says, as the library has it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    Narration(Narration),
    Description(Description),
    Location(Location),
    Detections(Vec<Detection>),
}

/// An answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    task: Task,
    image: ImageSize,
    /// How its texts were found, where it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    decoding: Option<Decoding>,
    result: Outcome,
    timings_ms: Timings,
}

/// How long an answer took, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Timings {
    /// In the queue.
    #[serde(serialize_with = "milliseconds")]
    queue: Duration,
    /// Decoding and encoding the image; next to nothing for one that was kept.
    #[serde(serialize_with = "milliseconds")]
    image: Duration,
    /// The task itself.
    #[serde(serialize_with = "milliseconds")]
    task: Duration,
}

/// To a tenth of a millisecond.
fn milliseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((time.as_secs_f64() * 1e4).round() / 10.0)
}

/// What a stream tells.
#[derive(Debug)]
pub(super) enum Told {
    /// The image was looked at.
    Start {
        task: Task,
        image: ImageSize,
    },
    Word(StreamedWord),
    Done(Box<Answer>),
    Failed(ApiError),
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) enum Reply {
    Whole(oneshot::Sender<Result<Answer, ApiError>>),
    /// Unbounded, so that who does not listen holds nothing up: a text is no longer than the model's.
    Words(mpsc::UnboundedSender<Told>),
}

impl Reply {
    /// Whether nobody waits any more.
    fn is_closed(&self) -> bool {
        match self {
            Self::Whole(reply) => reply.is_closed(),
            Self::Words(reply) => reply.is_closed(),
        }
    }
}

/// A question on its way.
#[derive(Debug)]
struct Job {
    asked: Asked,
    reply: Reply,
    arrived: Instant,
    deadline: Instant,
}

/// The way to the worker.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    jobs: mpsc::Sender<Job>,
    answer_within: Duration,
}

impl Queue {
    /// Puts a question at the end.
    ///
    /// # Errors
    /// Where the queue is full, or the server is ending.
    pub(super) fn ask(&self, asked: Asked, reply: Reply) -> Result<(), ApiError> {
        let arrived = Instant::now();
        let job = Job { asked, reply, arrived, deadline: arrived + self.answer_within };
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                let waiting = self.jobs.max_capacity();
                ApiError::busy(format!("{waiting} requests are waiting already (--queue)"))
            }
            mpsc::error::TrySendError::Closed(_) => ApiError::busy("the server is ending"),
        })
    }
}

/// The thread.
#[derive(Debug)]
pub(super) struct Worker {
    queue: Queue,
    thread: thread::JoinHandle<()>,
}

impl Worker {
    /// Starts it. Texts that are not streamed are found as `decoding` says.
    pub(super) fn start(
        predictor: Predictor,
        decoding: Decoding,
        limits: Limits,
    ) -> Result<Self, Error> {
        let (jobs, queue) = mpsc::channel(limits.queue.max(1));
        let kept = KeptImages::new(limits.kept_images);
        let mut desk = Desk { predictor, decoding, kept, max_pixels: limits.pixels };
        let work = move || desk.work(queue);
        let thread = thread::Builder::new().name("inference".into()).spawn(work);
        let thread = thread.map_err(|error| Error::Compute {
            problem: format!("the thread that computes could not be started: {error}"),
            help: "Look at the limits of the system on threads.".into(),
        })?;
        Ok(Self { queue: Queue { jobs, answer_within: limits.answer }, thread })
    }

    /// The way to it.
    pub(super) fn queue(&self) -> Queue {
        self.queue.clone()
    }

    /// Waits until it has no more to do; all other ways to it must be gone.
    pub(super) fn finish(self) {
        drop(self.queue);
        // It catches panics of its own.
        let _ = self.thread.join();
    }
}

/// What the thread works with.
struct Desk {
    predictor: Predictor,
    decoding: Decoding,
    kept: KeptImages,
    max_pixels: u64,
}

impl Desk {
    fn work(&mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(job) = queue.blocking_recv() {
            if job.reply.is_closed() {
                continue;
            }
            // Nothing that is kept is left half-changed by a panic.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.answer(&job)));
            let outcome = outcome.unwrap_or_else(|_| Err(ApiError::internal()));
            // Who is gone does not hear it.
            match (job.reply, outcome) {
                (Reply::Whole(reply), Ok(Some(answer))) => drop(reply.send(Ok(answer))),
                (Reply::Whole(reply), Err(error)) => drop(reply.send(Err(error))),
                (Reply::Words(reply), Ok(Some(answer))) => {
                    drop(reply.send(Told::Done(Box::new(answer))));
                }
                (Reply::Words(reply), Err(error)) => drop(reply.send(Told::Failed(error))),
                (_, Ok(None)) => (),
            }
        }
    }

    /// The answer; `None` where nobody waits for it any more.
    fn answer(&mut self, job: &Job) -> Result<Option<Answer>, ApiError> {
        let begun = Instant::now();
        if begun > job.deadline {
            return Err(ApiError::timeout());
        }
        let question = &job.asked.question;
        let (image, size) =
            self.kept.encoded(&self.predictor, &job.asked.image, self.max_pixels)?;
        let looked = Instant::now();
        let result = match &job.reply {
            Reply::Whole(_) => self.predictor.outcome(question, &image, size)?,
            Reply::Words(told) => {
                // Not before it is known that there is an answer.
                let mut start = Some(Told::Start { task: question.task(), image: size });
                let mut tell = |word: Option<StreamedWord>| {
                    let news = start.take().into_iter().chain(word.map(Told::Word));
                    news.map(|one| told.send(one)).all(|sent| sent.is_ok())
                };
                let on_word = |word| match tell(Some(word)) && Instant::now() < job.deadline {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                };
                match self.predictor.streamed(question, &image, on_word)? {
                    Some(result) => {
                        tell(None);
                        result
                    }
                    None if told.is_closed() => return Ok(None),
                    None => return Err(ApiError::timeout()),
                }
            }
        };
        let decoding = match (&job.reply, question.task()) {
            (_, Task::Locate) => None,
            (Reply::Whole(_), _) => Some(self.decoding.clone()),
            (Reply::Words(_), _) => Some(Decoding::Greedy),
        };
        let timings_ms =
            Timings { queue: begun - job.arrived, image: looked - begun, task: looked.elapsed() };
        Ok(Some(Answer { task: question.task(), image: size, decoding, result, timings_ms }))
    }
}

impl Predictor {
    /// What the model answers about an image of `size`.
    fn outcome(
        &self,
        question: &Question,
        image: &EncodedImages,
        size: ImageSize,
    ) -> Result<Outcome, ApiError> {
        let outcome = match question {
            Question::Narrate => self.narrate(image)?.pop().map(Outcome::Narration),
            Question::Describe(place) => {
                let places = [vec![place.clone()]];
                only(self.describe_places(image, &places)?).map(Outcome::Description)
            }
            Question::Locate { text, mask: false } => {
                only(self.locate(image, &[vec![text.clone()]])?).map(Outcome::Location)
            }
            Question::Locate { text, mask: true } => {
                let sizes = [[size.width, size.height]];
                only(self.segment(image, &[vec![text.clone()]], &sizes)?).map(Outcome::Location)
            }
            Question::Detect(limits) => self.detect(image, *limits)?.pop().map(Outcome::Detections),
        };
        outcome.ok_or_else(ApiError::internal)
    }

    /// As [`Self::outcome`], word by word; `None` where `on_word` broke off.
    fn streamed(
        &self,
        question: &Question,
        image: &EncodedImages,
        on_word: impl FnMut(StreamedWord) -> ControlFlow<()> + Send,
    ) -> Result<Option<Outcome>, ApiError> {
        match question {
            Question::Narrate => Ok(self.narrate_words(image, on_word)?.map(Outcome::Narration)),
            Question::Describe(place) => {
                Ok(self.describe_words(image, place, on_word)?.map(Outcome::Description))
            }
            Question::Locate { .. } | Question::Detect(_) => Err(ApiError::internal()),
        }
    }
}

/// The one answer about the one image.
fn only<T>(mut answers: Vec<Vec<T>>) -> Option<T> {
    answers.pop()?.pop()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::kept_images::tests::image;
    use super::*;
    use crate::tasks::testing;

    fn narrate(shade: u8) -> Asked {
        Asked { image: image(shade), question: Question::Narrate }
    }

    fn worker(limits: Limits) -> Worker {
        Worker::start(testing::predictor().unwrap(), Decoding::Greedy, limits).unwrap()
    }

    #[test]
    fn who_is_gone_is_passed_over_and_who_waited_too_long_is_told_so() {
        let worker = worker(Limits { answer: Duration::ZERO, ..Limits::default() });
        let (gone, _) = oneshot::channel();
        worker.queue().ask(narrate(1), Reply::Whole(gone)).unwrap();
        let (late, answer) = oneshot::channel();
        worker.queue().ask(narrate(1), Reply::Whole(late)).unwrap();
        assert_eq!(answer.blocking_recv().unwrap().unwrap_err(), ApiError::timeout());
        worker.finish();
    }

    #[test]
    fn a_stream_tells_the_words_and_then_the_whole_answer() {
        let worker = worker(Limits::default());
        let (words, mut told) = mpsc::unbounded_channel();
        worker.queue().ask(narrate(1), Reply::Words(words)).unwrap();
        worker.finish();
        let size = ImageSize { width: 20, height: 10 };
        let first = told.blocking_recv().unwrap();
        assert!(matches!(first, Told::Start { task: Task::Narrate, image } if image == size));
        let mut count = 0;
        let answer = loop {
            match told.blocking_recv().unwrap() {
                Told::Word(word) => {
                    assert_eq!(word.index, count);
                    count += 1;
                }
                Told::Done(answer) => break answer,
                other => unreachable!("{other:?}"),
            }
        };
        let Outcome::Narration(narration) = answer.result else { unreachable!("not narrated") };
        assert_eq!(narration.words.len(), count);
        assert!(told.blocking_recv().is_none());
    }
}
