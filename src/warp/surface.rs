//! Positions interpolated over a cell: polynomials of the fourth degree in both directions.

use super::exact::Exact;

/// Nodes along each side of a cell.
const NODES: usize = 5;

/// Coefficients of `sum(c[k][j] u^k v^j)`, with u and v from -1 at the first edge of a cell to 1 at the last.
#[derive(Debug, Clone, PartialEq)]
pub struct Surface([[f64; NODES]; NODES]);

/// Surfaces of columns and rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    pub cols: Surface,
    pub rows: Surface,
}

/// Coefficients of the polynomial through values at -1, -1/2, 0, 1/2, 1.
fn polynomial([a, b, c, d, e]: [f64; NODES]) -> [f64; NODES] {
    let (even_far, even_near) = ((e + a) / 2.0 - c, (d + b) / 2.0 - c);
    let (odd_far, odd_near) = ((e - a) / 2.0, (d - b) / 2.0);
    let second = (16.0 * even_near - even_far) / 3.0;
    let first = (8.0 * odd_near - odd_far) / 3.0;
    [c, first, second, odd_far - first, even_far - second]
}

#[inline]
fn value(c: &[f64; NODES], t: f64) -> f64 {
    (((c[4] * t + c[3]) * t + c[2]) * t + c[1]) * t + c[0]
}

impl Surface {
    /// Through the values at the nodes, row-major.
    fn through(nodes: &[f64]) -> Surface {
        let along: Vec<[f64; NODES]> =
            nodes.chunks_exact(NODES).map(|r| polynomial([r[0], r[1], r[2], r[3], r[4]])).collect();
        Surface(std::array::from_fn(|k| polynomial(std::array::from_fn(|j| along[j][k]))))
    }

    /// The coefficients of its polynomial in u, for one v.
    #[inline]
    pub fn line(&self, v: f64) -> Line {
        Line(std::array::from_fn(|k| value(&self.0[k], v)))
    }
}

/// A polynomial along a row of a cell.
pub struct Line([f64; NODES]);

impl Line {
    #[inline]
    pub fn at(&self, u: f64) -> f64 {
        value(&self.0, u)
    }
}

/// What a cell's points say of it.
pub struct Fitted {
    pub fit: Fit,
    /// The largest error at four points between the nodes, near to where it is largest for a smooth surface.
    pub error: f64,
    /// Images of all points looked at.
    pub cols: Vec<f64>,
    pub rows: Vec<f64>,
}

/// Fits a cell of side `size` whose first pixel is (`col`, `row`), from edge to edge. `None` if a point has no image.
pub fn fit(exact: &Exact, col: u64, row: u64, size: u64) -> Option<Fitted> {
    const BETWEEN: [(f64, f64); 4] = [(-0.8, -0.8), (0.8, -0.8), (-0.8, 0.8), (0.8, 0.8)];
    let half = size as f64 / 2.0;
    let node = |i: usize| (i as f64 - 2.0) / 2.0;
    let nodes = (0..NODES * NODES).map(|i| (node(i % NODES), node(i / NODES)));
    let (mut cols, mut rows): (Vec<f64>, Vec<f64>) =
        nodes.chain(BETWEEN).map(|(u, v)| (col as f64 + (u + 1.0) * half, row as f64 + (v + 1.0) * half)).unzip();
    exact.apply(&mut cols, &mut rows);
    if !cols.iter().chain(&rows).all(|p| p.is_finite()) {
        return None;
    }
    let (nodes, between) = (NODES * NODES, BETWEEN.iter().enumerate());
    let fit = Fit { cols: Surface::through(&cols[..nodes]), rows: Surface::through(&rows[..nodes]) };
    let error = between.fold(0.0_f64, |worst, (i, (u, v))| {
        let of_col = (fit.cols.line(*v).at(*u) - cols[nodes + i]).abs();
        worst.max(of_col).max((fit.rows.line(*v).at(*u) - rows[nodes + i]).abs())
    });
    Some(Fitted { fit, error, cols, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_polynomial_goes_through_its_nodes() {
        let c = polynomial([3.0, -1.0, 2.0, 7.0, 11.0]);
        let at = [-1.0, -0.5, 0.0, 0.5, 1.0].map(|t| value(&c, t));
        assert!(at.iter().zip([3.0, -1.0, 2.0, 7.0, 11.0]).all(|(a, b)| (a - b).abs() < 1e-13), "{at:?}");
    }
}
