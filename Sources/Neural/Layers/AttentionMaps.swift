import KalsaeTensors
import Synchronization

/// The attention maps of a forward pass, (B, heads, T, S) each, in the order in which attention is applied.
///
/// A map is one more tensor of the graph: only those that are evaluated cost anything, and a pass that nobody watches
/// makes none.
public final class AttentionMaps: Sendable {
  @TaskLocal static var current: AttentionMaps?
  package static var isRecording: Bool { current != nil }
  private let maps = Mutex<[Tensor]>([])

  private init() {}

  /// The result of `body`, and the map of every attention in it.
  public static func recording<R>(_ body: () throws -> R) rethrows -> (result: R, maps: [Tensor]) {
    let recorder = AttentionMaps()
    let result = try $current.withValue(recorder, operation: body)
    return (result, recorder.maps.withLock { $0 })
  }

  func record(_ map: () -> Tensor) {
    let map = map()
    maps.withLock { $0.append(map) }
  }
}
