/// The colours of heat maps: matplotlib's viridis, which looks evenly spaced and is monotonic in grey.
enum Colormap {
  /// At 0, 1/9, 2/9, ... 1; straight lines between.
  static let viridis: [(red: Double, green: Double, blue: Double)] = [
    (68, 1, 84), (72, 40, 120), (62, 73, 137), (49, 104, 142), (38, 130, 142), (31, 158, 137),
    (53, 183, 121), (110, 206, 88), (181, 222, 43), (253, 231, 37),
  ]

  /// The colours of 0, 1, ... 255.
  static let table: [[UInt8]] = (0..<256).map { level in
    let place = Double(level) / 255 * Double(viridis.count - 1)
    let low = min(Int(place), viridis.count - 2), share = place - Double(low)
    let (a, b) = (viridis[low], viridis[low + 1])
    func mixed(_ a: Double, _ b: Double) -> UInt8 { UInt8((a + (b - a) * share).rounded()) }
    return [mixed(a.red, b.red), mixed(a.green, b.green), mixed(a.blue, b.blue)]
  }
}

/// The probabilities of one head's map as 256 levels, `255 sqrt(p / largest)`: small ones, of which maps are full, stay
/// apart, and a head that spreads its attention is not all dark.
func attentionLevels(_ map: some Collection<Float>) -> (levels: [UInt8], largest: Float) {
  let largest = map.max() ?? 0
  guard largest > 0 else { return ([UInt8](repeating: 0, count: map.count), 0) }
  return (map.map { UInt8((255 * ($0 / largest).squareRoot()).rounded()) }, largest)
}
