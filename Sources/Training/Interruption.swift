import Foundation
import Synchronization

/// SIGINT and SIGTERM as a request to stop: the loop saves and leaves. A second SIGINT ends the process at once.
public enum Interruption {
  private static let count = Atomic<Int>(0)

  /// Starts listening.
  public static func install() {
    // A parent process may have left them blocked.
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in [SIGINT, SIGTERM] {
      signal(number, interrupted)
      sigaddset(&signals, number)
    }
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
  }

  /// Whether the process was asked to stop.
  public static var isRequested: Bool { count.load(ordering: .relaxed) > 0 }

  fileprivate static func request() {
    // The handler may only do what is safe between any two instructions.
    if count.add(1, ordering: .relaxed).newValue > 1 { _exit(130) }
  }
}

private func interrupted(_ number: Int32) { Interruption.request() }
