/// The upper half of a float32, rounded to nearest even; NaN stays NaN.
package func bfloat16Bits(_ value: Float) -> UInt16 {
  let bits = value.bitPattern
  if value.isNaN { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
  return UInt16(truncatingIfNeeded: (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)
}

package func float(bfloat16 bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }

/// IEEE half precision, rounded to nearest even; too large becomes infinite.
package func float16Bits(_ value: Float) -> UInt16 {
  let bits = value.bitPattern
  let sign = UInt16(truncatingIfNeeded: bits >> 16) & 0x8000
  let magnitude = bits & 0x7FFF_FFFF
  if magnitude > 0x7F80_0000 { return sign | 0x7E00 }
  if magnitude >= 0x477F_F000 { return sign | 0x7C00 }
  if magnitude < 0x3880_0000 {
    // Subnormal: the unit in the last place is 2^-24.
    let scaled = Float(bitPattern: magnitude) * 16_777_216
    return sign | UInt16(scaled.rounded(.toNearestOrEven))
  }
  let rounded = magnitude + 0xFFF + ((magnitude >> 13) & 1)
  return sign | UInt16(truncatingIfNeeded: (rounded - 0x3800_0000) >> 13)
}

package func float(float16 bits: UInt16) -> Float {
  let sign = UInt32(bits & 0x8000) << 16
  let exponent = UInt32(bits >> 10) & 0x1F, fraction = UInt32(bits & 0x3FF)
  switch exponent {
  case 0: return (sign == 0 ? 1 : -1) * Float(fraction) / 16_777_216
  case 31: return Float(bitPattern: sign | 0x7F80_0000 | fraction << 13)
  default: return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
  }
}
