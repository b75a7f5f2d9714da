import Foundation

/// NFC, NFD, NFKC and NFKD (UAX #15) with the origin of every scalar. Mappings of single scalars come from Foundation and
/// are remembered; Hangul is computed.
struct UnicodeNormalizer {
  enum Form: String, CaseIterable { case NFC, NFD, NFKC, NFKD }

  private struct Decomposed {
    var scalar: UInt32, combiningClass: UInt8, range: Range<Int>
  }

  /// By compatibility and scalar; a scalar that stays as it is maps to an empty list.
  private var decompositions: [[UInt32: [UInt32]]] = [[:], [:]]
  /// By pair; 0 where nothing is composed.
  private var compositions: [UInt64: UInt32] = [:]
  private var buffer: [Decomposed] = []

  mutating func normalize(_ text: Text, _ form: Form) -> Text {
    let isCompatibility = form == .NFKC || form == .NFKD
    let composes = form == .NFC || form == .NFKC
    // Below U+0300 nothing composes with what follows; below U+00A0 nothing decomposes.
    if isUnchanged(text, below: composes && !isCompatibility ? 0x300 : 0xA0) { return text }
    buffer.removeAll(keepingCapacity: true)
    decompose(text, isCompatibility)
    reorder()
    if composes { compose() }
    var builder = TextBuilder(text)
    for item in buffer { builder.append(item.scalar, from: item.range) }
    return builder.finished()
  }

  private func isUnchanged(_ text: Text, below limit: UInt32) -> Bool {
    // The first byte of U+0300 is 0xCC, that of U+00A0 0xC2.
    let lead: UInt8 = limit == 0x300 ? 0xCC : 0xC2
    return text.bytes.allSatisfy { $0 < lead }
  }

  private mutating func decompose(_ text: Text, _ isCompatibility: Bool) {
    let bytes = text.bytes
    bytes.withUnsafeBufferPointer { bytes in
      var position = 0
      while position < bytes.count {
        let (scalar, length) = UTF8Scalars.decode(bytes.baseAddress!, position)
        let range = position..<position + length
        position += length
        if scalar < 0xA0 {
          buffer.append(.init(scalar: scalar, combiningClass: 0, range: range))
        } else if (0xAC00...0xD7A3).contains(scalar) {
          let index = scalar - 0xAC00
          push(0x1100 + index / 588, range)
          push(0x1161 + index % 588 / 28, range)
          if index % 28 != 0 { push(0x11A7 + index % 28, range) }
        } else {
          let mapping = decomposition(scalar, isCompatibility)
          if mapping.isEmpty { push(scalar, range) } else { for scalar in mapping { push(scalar, range) } }
        }
      }
    }
  }

  private mutating func push(_ scalar: UInt32, _ range: Range<Int>) {
    let combiningClass = Unicode.Scalar(scalar)?.properties.canonicalCombiningClass.rawValue ?? 0
    buffer.append(.init(scalar: scalar, combiningClass: combiningClass, range: range))
  }

  private mutating func decomposition(_ scalar: UInt32, _ isCompatibility: Bool) -> [UInt32] {
    let table = isCompatibility ? 1 : 0
    if let known = decompositions[table][scalar] { return known }
    let string = String(Unicode.Scalar(scalar)!)
    let mapped =
      isCompatibility
      ? string.decomposedStringWithCompatibilityMapping : string.decomposedStringWithCanonicalMapping
    let scalars = mapped.unicodeScalars.map(\.value)
    let result = scalars == [scalar] ? [] : scalars
    decompositions[table][scalar] = result
    return result
  }

  /// Canonical order: runs of combining scalars by their class, stable.
  private mutating func reorder() {
    var index = 1
    while index < buffer.count {
      let item = buffer[index]
      if item.combiningClass != 0 {
        var place = index
        while place > 0, buffer[place - 1].combiningClass > item.combiningClass {
          buffer[place] = buffer[place - 1]
          place -= 1
        }
        buffer[place] = item
      }
      index += 1
    }
  }

  private mutating func compose() {
    var result: [Decomposed] = []
    result.reserveCapacity(buffer.count)
    var starter = -1, lastClass = 0
    for item in buffer {
      let itemClass = Int(item.combiningClass)
      if starter >= 0, result.count - 1 == starter || lastClass < itemClass,
        let composite = composition(result[starter].scalar, item.scalar)
      {
        result[starter].scalar = composite
        let range = result[starter].range
        result[starter].range =
          min(range.lowerBound, item.range.lowerBound)..<max(range.upperBound, item.range.upperBound)
        continue
      }
      if itemClass == 0 { starter = result.count }
      lastClass = itemClass
      result.append(item)
    }
    buffer = result
  }

  private mutating func composition(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if (0x1100..<0x1113).contains(first), (0x1161..<0x1176).contains(second) {
      return 0xAC00 + ((first - 0x1100) * 21 + (second - 0x1161)) * 28
    }
    if (0xAC00...0xD7A3).contains(first), (first - 0xAC00) % 28 == 0, (0x11A8..<0x11C3).contains(second) {
      return first + (second - 0x11A7)
    }
    guard second >= 0x300 else { return nil }
    let key = UInt64(first) << 32 | UInt64(second)
    if let known = compositions[key] { return known == 0 ? nil : known }
    var pair = String.UnicodeScalarView()
    pair.append(Unicode.Scalar(first)!)
    pair.append(Unicode.Scalar(second)!)
    let composed = String(pair).precomposedStringWithCanonicalMapping.unicodeScalars
    let result = composed.count == 1 ? composed.first!.value : 0
    compositions[key] = result
    return result == 0 ? nil : result
  }
}
