/// The edge of a figure inside the unit circle, as a signed distance: negative inside.
enum Outline {
  case ring(inner: Double, outer: Double)
  case polygon([(x: Double, y: Double)])

  init(_ figure: ShapeScene.Figure) {
    self =
      switch figure {
      case .circle: .ring(inner: 0, outer: 0.85)
      case .ring: .ring(inner: 0.5, outer: 0.9)
      case .square: .polygon([(-0.7, -0.7), (0.7, -0.7), (0.7, 0.7), (-0.7, 0.7)])
      case .triangle: .polygon([(0, -1), (0.866, 0.5), (-0.866, 0.5)])
      case .diamond: .polygon([(0, -1), (0.7, 0), (0, 1), (-0.7, 0)])
      case .cross:
        .polygon([
          (-0.28, -0.95), (0.28, -0.95), (0.28, -0.28), (0.95, -0.28), (0.95, 0.28), (0.28, 0.28),
          (0.28, 0.95), (-0.28, 0.95), (-0.28, 0.28), (-0.95, 0.28), (-0.95, -0.28), (-0.28, -0.28),
        ])
      case .arrow:
        .polygon([
          (-0.9, -0.24), (0.1, -0.24), (0.1, -0.65), (0.95, 0), (0.1, 0.65), (0.1, 0.24), (-0.9, 0.24),
        ])
      case .star:
        // Five points on the unit circle and five on the circle of radius 0.42, every 36 degrees.
        .polygon([
          (0, -1), (0.2469, -0.3398), (0.9511, -0.3090), (0.3994, 0.1298), (0.5878, 0.8090), (0, 0.42),
          (-0.5878, 0.8090), (-0.3994, 0.1298), (-0.9511, -0.3090), (-0.2469, -0.3398),
        ])
      }
  }

  /// Distance from (x, y) to the edge.
  func distance(_ x: Double, _ y: Double) -> Double {
    switch self {
    case .ring(let inner, let outer):
      let r = (x * x + y * y).squareRoot()
      return max(r - outer, inner > 0 ? inner - r : -1)
    case .polygon(let points):
      var nearest = Double.infinity
      var isInside = false
      var b = points[points.count - 1]
      for a in points {
        // The nearest point of the edge a - b, at a + t (b - a) with t clamped to [0, 1].
        let (ex, ey, wx, wy) = (b.x - a.x, b.y - a.y, x - a.x, y - a.y)
        let t = max(0, min(1, (wx * ex + wy * ey) / (ex * ex + ey * ey)))
        let (nx, ny) = (wx - ex * t, wy - ey * t)
        nearest = min(nearest, nx * nx + ny * ny)
        // A ray to the right crosses this edge: inside and outside change places.
        if (a.y > y) != (b.y > y) && wx < ex * wy / ey { isInside.toggle() }
        b = a
      }
      return isInside ? -nearest.squareRoot() : nearest.squareRoot()
    }
  }
}
