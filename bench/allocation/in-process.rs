//! The rotation as a program does it that holds its agents in one process: read lock, atomic fetch-add modulo length, clone of the
//! agent. It skips nobody, counts no slots, and survives nothing.
//!
//! Arguments: agents, tasks a sample, samples. Prints nanoseconds a task, one sample a line.

use std::env;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::RwLock;
use std::time::Instant;

#[derive(Clone)]
#[allow(dead_code)]
struct Agent {
    id: String,
    kind: String,
    slots: usize,
}

struct Rotation {
    agents: RwLock<Vec<Agent>>,
    next: AtomicUsize,
}

impl Rotation {
    fn pick(&self) -> Agent {
        let agents = self.agents.read().unwrap();
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        agents[ticket % agents.len()].clone()
    }
}

fn main() {
    let numbers: Vec<usize> = env::args().skip(1).map(|each| each.parse().unwrap()).collect();
    let (count, batch, samples) = (numbers[0], numbers[1], numbers[2]);
    let agents = (0..count)
        .map(|i| Agent { id: format!("host-{:016}-{i}", 1), kind: "echo".to_string(), slots: 64 })
        .collect();
    let rotation = Rotation { agents: RwLock::new(agents), next: AtomicUsize::new(0) };
    let mut picked: Vec<Agent> = Vec::with_capacity(batch);
    for sample in 0..2 * samples {
        let begun = Instant::now();
        for _ in 0..batch {
            picked.push(black_box(&rotation).pick());
        }
        let nanos = begun.elapsed().as_nanos() as f64 / batch as f64;
        black_box(&picked);
        picked.clear();
        // The first half warms up.
        if sample >= samples {
            println!("{nanos:.1}");
        }
    }
}
