//! Paths of parameters as experiments write them: a path names what is under it, and may have wildcards.

/// Whether `parameter` is what `pattern` names, or under it.
///
/// Both are names with dots between them. In a name of the pattern, `*` stands for any characters, none
/// among them; a name `**` stands for any number of names, none among them. So `vision.*.blocks` names the
/// blocks of every encoder, and `**.bias` every bias.
pub fn is_under(parameter: &str, pattern: &str) -> bool {
    let names: Vec<&str> = parameter.split('.').collect();
    let wanted: Vec<&str> = pattern.split('.').collect();
    begins_with(&names, &wanted)
}

fn begins_with(names: &[&str], wanted: &[&str]) -> bool {
    match wanted {
        [] => true,
        ["**", rest @ ..] => (0..=names.len()).any(|skipped| begins_with(&names[skipped..], rest)),
        [first, rest @ ..] => match names {
            [name, names @ ..] => is_name(name, first) && begins_with(names, rest),
            [] => false,
        },
    }
}

/// Whether `name` is `wanted`, in which `*` stands for any characters.
fn is_name(name: &str, wanted: &str) -> bool {
    let Some((before, after)) = wanted.split_once('*') else { return name == wanted };
    let Some(rest) = name.strip_prefix(before) else { return false };
    rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| is_name(&rest[at..], after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_what_is_under_it() {
        assert!(is_under("vision.eva.norm.gamma", "vision.eva"));
        assert!(is_under("vision.eva", "vision.eva"));
        assert!(!is_under("vision.eva_2", "vision.eva"));
        assert!(!is_under("vision", "vision.eva"));
        assert!(!is_under("vision", ""));
    }

    #[test]
    fn stars_stand_for_parts_of_names_and_for_names() {
        let query = "vision.eva.blocks.3.attention.query.bias";
        for pattern in [
            "vision.*.blocks",
            "vision.*.blocks.*.attention",
            "**.bias",
            "**.attention",
            "vision.**.query",
            "vision.**",
            "**.blocks.3.**.b*s",
            "*",
        ] {
            assert!(is_under(query, pattern), "{pattern}");
        }
        for pattern in ["*.blocks", "**.weight", "vision.eva.blocks.*.query", "**.bia", "**.ias"] {
            assert!(!is_under(query, pattern), "{pattern}");
        }
        assert!(is_under("norm_1", "norm*") && is_under("norm", "norm*"));
        assert!(is_under("a_b_c", "*b*") && !is_under("a_c", "*b*"));
    }
}
