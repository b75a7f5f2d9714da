import CKernels
import Foundation
import Testing

/// One thread for every kernel launch of these tests, as in the product.
final class EvaluationThread: @unchecked Sendable {
  private static let shared = EvaluationThread()
  private let condition = NSCondition()
  private var jobs: [() -> Void] = []

  private init() {
    let thread = Thread { [self] in
      kk_enter_evaluation_thread()
      while true {
        condition.lock()
        while jobs.isEmpty { condition.wait() }
        let job = jobs.removeFirst()
        condition.unlock()
        job()
      }
    }
    thread.stackSize = 8 << 20
    thread.start()
  }

  /// Runs `body` there and waits for it.
  static func run(_ body: @escaping () -> Void) {
    let done = DispatchSemaphore(value: 0)
    shared.condition.lock()
    shared.jobs.append {
      body()
      done.signal()
    }
    shared.condition.signal()
    shared.condition.unlock()
    done.wait()
  }
}

func kernels(_ body: @escaping () -> Void) { EvaluationThread.run(body) }

/// SplitMix64: the same numbers in every run.
struct Seeded: RandomNumberGenerator {
  var state: UInt64
  init(_ seed: UInt64 = 1) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
  mutating func values(_ count: Int, in range: ClosedRange<Double> = -3...3) -> [Double] {
    (0..<count).map { _ in Double.random(in: range, using: &self) }
  }
}

let floatTypes: [kk_dtype] = [KK_F32, KK_BF16, KK_F16]
let allTypes: [kk_dtype] = [KK_F32, KK_BF16, KK_F16, KK_I32, KK_I64, KK_U8, KK_BOOL]

extension kk_dtype {
  var isFloat: Bool { rawValue <= KK_F16.rawValue }
  /// Relative size of one rounding.
  var epsilon: Double {
    switch self {
    case KK_BF16: 1.0 / 256
    case KK_F16: 1.0 / 2048
    default: 1.0 / 16_777_216
    }
  }
}

func bfloat16Bits(_ x: Float) -> UInt16 {
  guard !x.isNaN else { return 0x7fc0 }
  let bits = x.bitPattern
  let (low, high) = (bits & 0xffff, UInt16(truncatingIfNeeded: bits >> 16))
  let up = low > 0x8000 || (low == 0x8000 && high & 1 == 1)
  return up ? high &+ 1 : high
}

/// Memory of one dtype, written and read as Double.
final class Storage {
  let type: kk_dtype, count: Int
  let data: UnsafeMutableRawPointer

  init(_ type: kk_dtype, count: Int) {
    (self.type, self.count) = (type, count)
    let bytes = max(1, count * kk_dtype_size(type))
    data = .allocate(byteCount: bytes, alignment: 64)
    data.initializeMemory(as: UInt8.self, repeating: 0xcd, count: bytes)
  }

  convenience init(_ values: [Double], _ type: kk_dtype = KK_F32) {
    self.init(type, count: values.count)
    for (i, x) in values.enumerated() { set(i, x) }
  }

  deinit { data.deallocate() }

  func set(_ i: Int, _ x: Double) {
    switch type {
    case KK_F32: at(i, Float.self).pointee = Float(x)
    case KK_BF16: at(i, UInt16.self).pointee = bfloat16Bits(Float(x))
    case KK_F16: at(i, Float16.self).pointee = Float16(x)
    case KK_I32: at(i, Int32.self).pointee = Int32(x)
    case KK_I64: at(i, Int64.self).pointee = Int64(x)
    case KK_U8: at(i, UInt8.self).pointee = UInt8(x)
    default: at(i, UInt8.self).pointee = x == 0 ? 0 : 1
    }
  }

  func get(_ i: Int) -> Double {
    switch type {
    case KK_F32: Double(at(i, Float.self).pointee)
    case KK_BF16: Double(Float(bitPattern: UInt32(at(i, UInt16.self).pointee) << 16))
    case KK_F16: Double(at(i, Float16.self).pointee)
    case KK_I32: Double(at(i, Int32.self).pointee)
    case KK_I64: Double(at(i, Int64.self).pointee)
    default: Double(at(i, UInt8.self).pointee)
    }
  }

  func at<T>(_ i: Int, _: T.Type) -> UnsafeMutablePointer<T> { data.assumingMemoryBound(to: T.self) + i }

  var floats: UnsafeMutablePointer<Float> { at(0, Float.self) }

  var values: [Double] { (0..<count).map(get) }
}

/// Values that `type` holds exactly, near the given ones.
func representable(_ values: [Double], _ type: kk_dtype) -> [Double] {
  Storage(
    values.map { type.isFloat ? $0 : type == KK_BOOL || type == KK_U8 ? abs($0).rounded() : $0.rounded() },
    type
  )
  .values
}

func rowMajor(_ shape: [Int]) -> [Int64] {
  var strides = [Int64](repeating: 1, count: shape.count)
  for d in shape.indices.dropLast().reversed() { strides[d] = strides[d + 1] * Int64(shape[d + 1]) }
  return strides
}

/// Every index of `shape` in row-major order.
func indices(_ shape: [Int]) -> [[Int]] {
  var all: [[Int]] = [[]]
  for size in shape { all = all.flatMap { head in (0..<size).map { head + [$0] } } }
  return all
}

func offset(_ index: [Int], _ strides: [Int64]) -> Int {
  zip(index, strides).reduce(0) { $0 + $1.0 * Int($1.1) }
}

/// Fails with the first element that differs by more than `relative` |expected| + `absolute`.
func expectClose(
  _ got: [Double], _ expected: [Double], relative: Double = 0, absolute: Double = 0, _ what: String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(got.count == expected.count, "\(what): count", sourceLocation: sourceLocation)
  for (i, (g, e)) in zip(got, expected).enumerated() {
    if g == e || (g.isNaN && e.isNaN) { continue }
    if abs(g - e) <= relative * abs(e) + absolute { continue }
    Issue.record("\(what): element \(i) is \(g), expected \(e)", sourceLocation: sourceLocation)
    return
  }
}
