//! Filling groups one after the other, each with what fits best to what it has.
//!
//! A group is given the node that has the largest share of its weight in it: not the largest
//! weight, so that a node with few links left is taken before it is alone. The next group begins
//! beside the last one, with the node there that has the least left to hold on to.

use std::ops::ControlFlow;

use super::links::Links;

/// Added to the weight that a share is of: among nodes with nothing left outside the group the one
/// with the larger weight is taken.
const WEIGHT_OFFSET: f64 = 256.0;

/// How many nodes are placed between two looks whether to go on.
pub(super) const NODES_BETWEEN_LOOKS: usize = 4096;

/// All nodes, in groups of `size` one behind the other; the last may have fewer.
pub(super) fn fill(
    links: &Links,
    size: usize,
    heard: &dyn Fn() -> ControlFlow<()>,
) -> ControlFlow<(), Vec<u32>> {
    let mut filling = Filling::new(links);
    let mut looked = 0;
    while filling.order.len() < links.len() {
        if filling.order.len() >= looked + NODES_BETWEEN_LOOKS {
            looked = filling.order.len();
            heard()?;
        }
        filling.begin_group();
        for _ in 1..size.min(links.len() - filling.group_start) {
            let node = filling.best().unwrap_or_else(|| filling.first_open());
            filling.place(node);
        }
    }
    ControlFlow::Continue(filling.order)
}

struct Filling<'a> {
    links: &'a Links,
    order: Vec<u32>,
    group_start: usize,
    placed: Vec<bool>,
    /// For each node the weight of its links to nodes that are not placed.
    open_weights: Vec<u64>,
    /// For each node the weight of its links into the group.
    weights: Vec<u64>,
    /// The nodes that have such links.
    beside: Vec<u32>,
    /// All nodes before it are placed.
    first_open: u32,
}

impl<'a> Filling<'a> {
    fn new(links: &'a Links) -> Self {
        let nodes = 0..links.len() as u32;
        let weight = |node| links.of(node).iter().map(|link| u64::from(link.weight)).sum();
        Self {
            links,
            order: Vec::with_capacity(links.len()),
            group_start: 0,
            placed: vec![false; links.len()],
            open_weights: nodes.map(weight).collect(),
            weights: vec![0; links.len()],
            beside: Vec::new(),
            first_open: 0,
        }
    }

    fn begin_group(&mut self) {
        let open = self.beside.iter().filter(|&&node| !self.placed[node as usize]);
        let loneliest = open.copied().min_by_key(|&node| (self.open_weights[node as usize], node));
        for node in self.beside.drain(..) {
            self.weights[node as usize] = 0;
        }
        let first = loneliest.unwrap_or_else(|| self.first_open());
        self.group_start = self.order.len();
        self.place(first);
    }

    fn first_open(&mut self) -> u32 {
        while self.placed[self.first_open as usize] {
            self.first_open += 1;
        }
        self.first_open
    }

    /// Of the nodes beside the group the one with the largest share in it.
    fn best(&self) -> Option<u32> {
        let mut best = (0.0, None);
        for &node in &self.beside {
            if self.placed[node as usize] {
                continue;
            }
            let inside = self.weights[node as usize] as f64;
            let share = inside / (inside + self.open_weights[node as usize] as f64 + WEIGHT_OFFSET);
            if share > best.0 {
                best = (share, Some(node));
            }
        }
        best.1
    }

    fn place(&mut self, node: u32) {
        self.placed[node as usize] = true;
        self.order.push(node);
        for link in self.links.of(node) {
            let (to, weight) = (link.to as usize, u64::from(link.weight));
            self.open_weights[to] -= weight;
            if self.placed[to] {
                continue;
            }
            if self.weights[to] == 0 {
                self.beside.push(link.to);
            }
            self.weights[to] += weight;
        }
    }
}
