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
    case mapping
    case owner(AnyObject)
  }

  /// Uninitialised memory from the process's pool, aligned to 64 bytes.
  public init(byteCount: Int) {
    self.byteCount = byteCount
    pointer = BufferPool.shared.take(byteCount)
    release = .pool
  }

  /// Zeros, in fresh memory; what is never touched of it takes none.
  public init(zeros byteCount: Int) {
    self.byteCount = byteCount
    pointer = mapMemory(byteCount)
    release = .mapping
  }

  /// Memory that belongs to `owner` (a mapped file), kept alive as long as the buffer is.
  public init(pointer: UnsafeMutableRawPointer, byteCount: Int, owner: AnyObject) {
    self.pointer = pointer
    self.byteCount = byteCount
    release = .owner(owner)
  }

  deinit {
    switch release {
    case .pool: BufferPool.shared.give(pointer, byteCount)
    case .mapping: munmap(pointer, wholePages(byteCount))
    case .owner: break
    }
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
    if capacity >= hugePage { return mapHugePages(capacity) }
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
    guard !kept else { return }
    if capacity >= hugePage { munmap(pointer, wholePages(capacity)) } else { free(pointer) }
  }
}

/// A page that the processor looks up at once: a large matrix is read with fewer look-ups than from pages of 4 KB.
private let hugePage = 2 << 20

private func wholePages(_ byteCount: Int) -> Int { (max(byteCount, 1) + 0xFFFF) & ~0xFFFF }

/// Fresh memory of zeros.
private func mapMemory(_ byteCount: Int) -> UnsafeMutableRawPointer {
  let anonymous = MAP_PRIVATE | MAP_ANON
  guard let memory = mmap(nil, wholePages(byteCount), PROT_READ | PROT_WRITE, anonymous, -1, 0),
    memory != MAP_FAILED
  else { fatalError("out of memory: \(byteCount) bytes for one tensor") }
  return memory
}

/// Fresh memory in huge pages, where the system has them, and small ones behind the last whole one.
private func mapHugePages(_ byteCount: Int) -> UnsafeMutableRawPointer {
  let size = wholePages(byteCount), first = mapMemory(size + hugePage)
  // One page too many was mapped; what lies outside the aligned range goes back.
  let head = (hugePage - Int(bitPattern: first) % hugePage) % hugePage
  if head > 0 { munmap(first, head) }
  if head < hugePage { munmap(first + head + size, hugePage - head) }
  #if !canImport(Darwin)
    madvise(first + head, size / hugePage * hugePage, MADV_HUGEPAGE)
  #endif
  return first + head
}
