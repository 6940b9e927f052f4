//! The arithmetic between the matrix products: plain f32, one fixed order, portable functions.
//!
//! Sums run over sixteen lanes that are folded by one tree, whatever the machine; `libm` gives the
//! transcendental functions, whose bits the platform's library would not promise.

const LANES: usize = 16;

/// The sum of products.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += a * b;
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

/// Root-mean-square norm of `x` into `out`, one vector.
pub(super) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let scale = rms_scale(x, eps);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

/// The same in place.
pub(super) fn rms_norm_inplace(x: &mut [f32], weight: &[f32], eps: f32) {
    let scale = rms_scale(x, eps);
    for (x, weight) in x.iter_mut().zip(weight) {
        *x = *x * scale * weight;
    }
}

fn rms_scale(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt()
}

/// `x += y`.
pub(super) fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// `gate = silu(gate) * up`.
pub(super) fn silu_mul(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + libm::expf(-*gate)) * up;
    }
}

/// `gate = gelu(gate) * up`, by the tanh approximation (Hendrycks and Gimpel, 2016, section 2).
pub(super) fn gelu_mul(gate: &mut [f32], up: &[f32]) {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    for (gate, up) in gate.iter_mut().zip(up) {
        let x = *gate;
        let inner = SQRT_2_OVER_PI * x * (1.0 + 0.044_715 * x * x);
        *gate = 0.5 * x * (1.0 + libm::tanhf(inner)) * up;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_product_takes_every_component() {
        for len in [0, 1, 15, 16, 17, 64, 100] {
            let a: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let b = vec![2.0; len];
            let expected = (0..len).sum::<usize>() as f32 * 2.0;
            assert_eq!(dot(&a, &b), expected, "{len} components");
        }
    }

    #[test]
    fn a_norm_makes_the_mean_square_one() {
        let x = [3.0, -4.0, 0.0, 5.0];
        let mut out = [0.0; 4];
        rms_norm(&x, &[1.0; 4], 0.0, &mut out);
        assert!((dot(&out, &out) / 4.0 - 1.0).abs() < 1e-6);
        let mut inplace = x;
        rms_norm_inplace(&mut inplace, &[1.0; 4], 0.0);
        assert_eq!(inplace, out);
    }

    #[test]
    fn activations_have_their_known_values() {
        let mut gate = [0.0, 1.0, -20.0];
        silu_mul(&mut gate, &[1.0; 3]);
        assert!((gate[1] - 0.731_058_6).abs() < 1e-6 && gate[0] == 0.0 && gate[2].abs() < 1e-6);
        let mut gate = [0.0, 1.0, -20.0];
        gelu_mul(&mut gate, &[2.0; 3]);
        assert!((gate[1] - 2.0 * 0.841_192).abs() < 1e-5 && gate[0] == 0.0 && gate[2] == 0.0);
    }
}
