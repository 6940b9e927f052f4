//! Attention equals the definition for both formats of keys and values.

use super::{Noise, same};
use crate::*;

const FORMATS: [KvFormat; 2] = [KvFormat::F16, KvFormat::Q8];

/// One head's vectors at every position, and what each query sees.
struct Case {
    soft_cap: Option<f32>,
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
    queries: Vec<Vec<f32>>,
    views: Vec<std::ops::Range<usize>>,
}

impl Case {
    /// All kinds of views: causal, from a window, a single position.
    fn new(noise: &mut Noise, dim: usize, len: usize, soft_cap: Option<f32>) -> Self {
        let mut vectors = |size: f32| -> Vec<Vec<f32>> {
            let mut vector = || (0..dim).map(|_| size * noise.float()).collect();
            (0..len).map(|_| vector()).collect()
        };
        let view = |i: usize| match i % 3 {
            0 => 0..i + 1,
            1 => i.saturating_sub(9)..i + 1,
            _ => i.saturating_sub(40)..i + 1,
        };
        Self {
            soft_cap,
            keys: vectors(3.0),
            values: vectors(3.0),
            queries: vectors(3.0),
            views: (0..len).map(view).collect(),
        }
    }

    fn dim(&self) -> usize {
        self.keys[0].len()
    }

    fn expected(&self, kv: KvFormat) -> Vec<Vec<f32>> {
        let queries = self.queries.iter().zip(&self.views);
        queries
            .map(|(query, view)| {
                let (keys, values) = (&self.keys[view.clone()], &self.values[view.clone()]);
                definition::attend(kv, query, keys, values, view.start, self.soft_cap)
            })
            .collect()
    }

    /// The second of two heads in the second of two layers.
    fn pages(&self, kernel: Kernel, shape: PageShape) -> Vec<Page> {
        let maker = Pages::new(shape);
        let mut pages: Vec<Page> = (0..self.keys.len().div_ceil(PAGE))
            .map(|_| maker.page())
            .collect();
        // What is overwritten, or behind the last one, leaves no trace.
        let noise = vec![7e4; 2 * self.dim()];
        for position in 0..pages.len() * PAGE {
            let page = &mut pages[position / PAGE];
            page.write(kernel, &shape, 1, position % PAGE, &noise, &noise);
        }
        for (position, (key, value)) in self.keys.iter().zip(&self.values).enumerate() {
            let (mut k, mut v) = (vec![9.0; self.dim()], vec![-9.0; self.dim()]);
            k.extend(key);
            v.extend(value);
            let page = &mut pages[position / PAGE];
            page.write(kernel, &shape, 1, position % PAGE, &k, &v);
        }
        pages
    }

    fn outputs(&self, kernel: Kernel, kv: KvFormat, together: usize) -> Vec<Vec<f32>> {
        let shape = PageShape {
            layers: 2,
            kv_heads: 2,
            head_dim: self.dim(),
            format: kv,
        };
        let pages = self.pages(kernel, shape);
        let mut outs = vec![vec![0.0; self.dim()]; self.queries.len()];
        let mut queries: Vec<Query<'_>> = self
            .queries
            .iter()
            .zip(&self.views)
            .zip(&mut outs)
            .map(|((vector, view), out)| Query {
                vector,
                positions: view.clone(),
                out,
            })
            .collect();
        let head = Head {
            pages: &pages,
            shape: &shape,
            layer: 1,
            kv_head: 1,
            soft_cap: self.soft_cap,
        };
        for queries in queries.chunks_mut(together) {
            attend(kernel, &head, queries);
        }
        outs
    }

    fn check(&self, kv: KvFormat) {
        let expected = self.expected(kv);
        for kernel in Kernel::all() {
            for together in [1, 2, 3, 5, 75] {
                let outs = self.outputs(kernel, kv, together);
                for (i, (out, expected)) in outs.iter().zip(&expected).enumerate() {
                    let dim = self.dim();
                    assert!(
                        same(out, expected),
                        "{kv:?}, {kernel:?}, head of {dim}, query {i} of {together} together"
                    );
                }
            }
        }
    }
}

#[test]
fn attention_equals_the_definition_whatever_is_taken_together() {
    let mut noise = Noise(5);
    for (dim, soft_cap) in [
        (64, None),
        (16, Some(5.0)),
        (24, None),
        (6, None),
        (80, Some(20.0)),
        (33, None),
        (128, None),
    ] {
        let case = Case::new(&mut noise, dim, 75, soft_cap);
        for kv in FORMATS {
            case.check(kv);
        }
    }
}

#[test]
fn a_longer_context_and_components_of_all_sizes_change_nothing() {
    let mut noise = Noise(7);
    let mut case = Case::new(&mut noise, 48, 300, None);
    for vectors in [&mut case.keys, &mut case.values] {
        for vector in vectors.iter_mut() {
            let sizes = noise.floats(vector.len());
            vector
                .iter_mut()
                .zip(sizes)
                .for_each(|(x, size)| *x *= size);
        }
        // Blocks of zeros, and what no half float holds.
        vectors[3].fill(0.0);
        vectors[40][32..].fill(1e-31);
        vectors[77][5] = 1e6;
    }
    case.queries = case.queries.split_off(290);
    case.views = vec![
        0..300,
        31..33,
        32..64,
        1..290,
        3..4,
        0..32,
        250..300,
        5..171,
        64..299,
        77..78,
    ];
    for kv in FORMATS {
        case.check(kv);
    }
}

#[test]
fn eight_bits_stay_near_half_floats_and_take_little_more_than_half_the_memory() {
    let mut noise = Noise(8);
    let case = Case::new(&mut noise, 64, 200, None);
    let (halves, bytes) = (case.expected(KvFormat::F16), case.expected(KvFormat::Q8));
    let (mut difference, mut size) = (0.0, 0.0);
    for (x, y) in halves.iter().flatten().zip(bytes.iter().flatten()) {
        difference += f64::from(x - y).powi(2);
        size += f64::from(*x).powi(2);
    }
    assert!((difference / size).sqrt() < 0.02, "{difference} of {size}");
    let bytes_of = |format, head_dim| {
        let shape = PageShape {
            layers: 30,
            kv_heads: 3,
            head_dim,
            format,
        };
        let components = 2 * 30 * 3 * head_dim * PAGE;
        shape.page_bytes() as f64 / components as f64
    };
    for head_dim in [32, 64, 96, 128, 256] {
        assert_eq!(bytes_of(KvFormat::F16, head_dim), 2.0);
        assert_eq!(bytes_of(KvFormat::Q8, head_dim), 1.125);
    }
}
