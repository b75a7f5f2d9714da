/// The element type of a tensor.
public enum DType: UInt8, Hashable, Sendable, CaseIterable, CustomStringConvertible {
  case float32, bfloat16, float16, int32, int64, uint8, bool

  /// Bytes of one element.
  public var byteCount: Int {
    switch self {
    case .float32, .int32: 4
    case .bfloat16, .float16: 2
    case .int64: 8
    case .uint8, .bool: 1
    }
  }

  /// Whether gradients flow through tensors of this type.
  public var isFloatingPoint: Bool {
    switch self {
    case .float32, .bfloat16, .float16: true
    case .int32, .int64, .uint8, .bool: false
    }
  }

  public var description: String {
    switch self {
    case .float32: "float32"
    case .bfloat16: "bfloat16"
    case .float16: "float16"
    case .int32: "int32"
    case .int64: "int64"
    case .uint8: "uint8"
    case .bool: "bool"
    }
  }
}

/// A Swift type whose values are stored bit for bit as the elements of a tensor.
public protocol Element: Sendable {
  static var dtype: DType { get }
}

extension Float: Element { public static var dtype: DType { .float32 } }
extension Int32: Element { public static var dtype: DType { .int32 } }
extension Int64: Element { public static var dtype: DType { .int64 } }
extension UInt8: Element { public static var dtype: DType { .uint8 } }
extension Bool: Element { public static var dtype: DType { .bool } }
