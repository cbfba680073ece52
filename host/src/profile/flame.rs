//! A flame graph: one page with its own script, and the profile as JSON in it.

use std::collections::HashMap;

use serde_json::json;

use super::{Origin, Profile, Sample};

const PAGE: &str = include_str!("flame.html");

/// Where the page wants its data.
const DATA: &str = "/*DATA*/null";

/// A tree of frames, outermost at the root, as the page takes it.
#[derive(Default)]
struct Tree {
    /// Name and file of each kind of frame, and the letter for whose it is: `l`abel, `g`uest or `h`ost.
    frames: Vec<(String, String, char)>,
    known: HashMap<(String, String, char), usize>,
    /// Parent, frame and own value of each node; parents come before their children.
    nodes: Vec<(Option<usize>, usize, i64)>,
    children: HashMap<(Option<usize>, usize), usize>,
}

pub(super) fn page(profile: &Profile, title: &str) -> String {
    let mut tree = Tree::default();
    for sample in &profile.samples {
        tree.add(profile, sample);
    }
    let nodes = tree.pre_order();
    let part = |name: fn(&(String, String, char)) -> &str| tree.frames.iter().map(name).collect::<Vec<_>>();
    let unit = profile.values.last().map_or("count", |value| value.unit);
    let data = json!({
        "title": title,
        "unit": if unit == "nanoseconds" { "ns" } else { unit },
        "total": profile.total(),
        "seconds": profile.duration.as_secs_f64(),
        "samples": profile.samples.iter().filter_map(|sample| sample.values.first()).sum::<i64>(),
        "dropped": profile.lost,
        "names": part(|(name, ..)| name),
        "files": part(|(_, file, _)| file),
        "kinds": tree.frames.iter().map(|(.., kind)| kind).collect::<String>(),
        "nodes": nodes,
    });
    // Names are the guests': none of them may end the script.
    PAGE.replacen(DATA, &data.to_string().replace('<', "\\u003c"), 1)
}

impl Tree {
    fn add(&mut self, profile: &Profile, sample: &Sample) {
        let Some(&value) = sample.values.last() else { return };
        // Words need no heading.
        let is_code = !profile.mappings.is_empty();
        let label =
            |wanted: &str| sample.labels.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value);
        let mut node = None;
        if is_code {
            let heading = label("handler").map_or("host".to_owned(), |name| format!("handler {name}"));
            node = Some(self.child(node, (heading, String::new(), 'l')));
            if let Some(route) = label("route") {
                node = Some(self.child(node, (route.to_string(), String::new(), 'l')));
            }
        }
        for place in sample.stack.iter().rev().map(|&place| &profile.places[place]) {
            let kind = match place.mapping.map(|mapping| profile.mappings[mapping].origin) {
                Some(Origin::Guest) => 'g',
                Some(Origin::Host) => 'h',
                None if is_code => 'h',
                None => 'l',
            };
            for line in place.lines.iter().rev() {
                // By function: lines would tear its frames apart.
                node = Some(self.child(node, (line.function.clone(), line.file.clone(), kind)));
            }
        }
        if let Some(node) = node {
            self.nodes[node].2 += value;
        }
    }

    fn child(&mut self, parent: Option<usize>, frame: (String, String, char)) -> usize {
        let frame = match self.known.get(&frame) {
            Some(&known) => known,
            None => {
                self.frames.push(frame.clone());
                self.known.insert(frame, self.frames.len() - 1);
                self.frames.len() - 1
            }
        };
        *self.children.entry((parent, frame)).or_insert_with(|| {
            self.nodes.push((parent, frame, 0));
            self.nodes.len() - 1
        })
    }

    /// `[parent, frame, own value]` of each node, children behind their parents and in the order of their names.
    fn pre_order(&self) -> Vec<(i64, usize, i64)> {
        let mut below: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
        for (index, (parent, ..)) in self.nodes.iter().enumerate() {
            below.entry(*parent).or_default().push(index);
        }
        let name = |node: &usize| &self.frames[self.nodes[*node].1].0;
        below.values_mut().for_each(|nodes| nodes.sort_by(|left, right| name(right).cmp(name(left))));
        let mut ordered = Vec::with_capacity(self.nodes.len());
        let mut left: Vec<(i64, usize)> = Vec::new();
        let children = |parent: Option<usize>| below.get(&parent).cloned().unwrap_or_default().into_iter();
        left.extend(children(None).map(|node| (-1, node)));
        while let Some((parent, node)) = left.pop() {
            let number = ordered.len() as i64;
            let (_, frame, own) = self.nodes[node];
            ordered.push((parent, frame, own));
            left.extend(children(Some(node)).map(|child| (number, child)));
        }
        ordered
    }
}

#[cfg(test)]
mod tests {
    use super::super::ValueType;
    use super::*;

    #[test]
    fn stacks_become_a_tree() {
        let mut profile = Profile::of_words(vec![ValueType { name: "space", unit: "bytes" }]);
        profile.add(&["guests", "b"], vec![5], vec![]);
        profile.add(&["guests", "a"], vec![7], vec![]);
        profile.add(&["guests"], vec![1], vec![]);
        profile.add(&["guests", "a"], vec![2], vec![]);
        let mut tree = Tree::default();
        profile.samples.iter().for_each(|sample| tree.add(&profile, sample));
        assert_eq!(tree.pre_order(), [(-1, 0, 1), (0, 2, 9), (0, 1, 5)]);
        assert_eq!(
            tree.frames.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(),
            ["guests", "b", "a"]
        );
    }

    #[test]
    fn a_name_cannot_end_the_script() {
        let mut profile = Profile::of_words(vec![ValueType { name: "space", unit: "bytes" }]);
        profile.add(&["</script><script>alert(1)"], vec![5], vec![]);
        let page = page(&profile, "</title>");
        assert!(page.contains("\\u003c/script>\\u003cscript>alert(1)"), "{page}");
        assert!(!page.contains(DATA));
    }
}
