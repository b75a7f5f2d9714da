import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A block of memory that holds a tensor's elements in row-major order.
///
/// Written once by whoever makes it, read-only afterwards; only a slot's owner updates its buffer in place.
public final class Buffer: @unchecked Sendable {
  public let pointer: UnsafeMutableRawPointer
  public let byteCount: Int
  private let release: Release

  private enum Release {
    case pool
    case owner(AnyObject)
  }

  /// Uninitialised memory from the process's pool, aligned to 64 bytes.
  public init(byteCount: Int) {
    self.byteCount = byteCount
    pointer = BufferPool.shared.take(byteCount)
    release = .pool
  }

  /// Memory that belongs to `owner` (a mapped file), kept alive as long as the buffer is.
  public init(pointer: UnsafeMutableRawPointer, byteCount: Int, owner: AnyObject) {
    self.pointer = pointer
    self.byteCount = byteCount
    release = .owner(owner)
  }

  deinit {
    if case .pool = release { BufferPool.shared.give(pointer, byteCount) }
  }
}

/// Keeps freed buffers for reuse by size, so that a loop's resident memory is flat.
final class BufferPool: Sendable {
  static let shared = BufferPool()
  private static let retainedLimit = 256 << 20
  private let state = Mutex(State())

  private struct State {
    var blocks: [Int: [UInt]] = [:]
    var bytes = 0
  }

  private static func capacity(_ byteCount: Int) -> Int { (Swift.max(byteCount, 1) + 63) & ~63 }

  func take(_ byteCount: Int) -> UnsafeMutableRawPointer {
    let capacity = Self.capacity(byteCount)
    let reused: UInt? = self.state.withLock { state in
      guard let block = state.blocks[capacity]?.popLast() else { return nil }
      state.bytes -= capacity
      return block
    }
    if let reused { return UnsafeMutableRawPointer(bitPattern: reused)! }
    var pointer: UnsafeMutableRawPointer?
    guard posix_memalign(&pointer, 64, capacity) == 0, let pointer else {
      fatalError("out of memory: \(capacity) bytes for one tensor")
    }
    return pointer
  }

  func give(_ pointer: UnsafeMutableRawPointer, _ byteCount: Int) {
    let capacity = Self.capacity(byteCount)
    let kept = self.state.withLock { state in
      guard state.bytes + capacity <= Self.retainedLimit else { return false }
      state.blocks[capacity, default: []].append(UInt(bitPattern: pointer))
      state.bytes += capacity
      return true
    }
    if !kept { free(pointer) }
  }
}
