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

/// A probability as one of 256 levels, by its square root: small ones, of which maps are full, stay apart.
func attentionLevel(_ probability: Float) -> UInt8 {
  UInt8((255 * max(0, min(1, probability)).squareRoot()).rounded())
}
