import KalsaeTensors
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The one thread on which plans run.
///
/// The kernels' thread pool belongs to the thread that enters it: a second one in the process would make the pools
/// fight for the cores, and halve the speed of both.
package final class EvaluationThread: @unchecked Sendable {
  package static let shared = EvaluationThread()

  private var mutex = pthread_mutex_t()
  private var wake = pthread_cond_t()
  private var jobs: [Job] = []
  private var thread = pthread_t()

  private final class Job {
    private(set) var body: (() -> Void)?
    var isDone = false
    var done = pthread_cond_t()
    init(_ body: @escaping () -> Void) {
      self.body = body
      pthread_cond_init(&done, nil)
    }
    deinit { pthread_cond_destroy(&done) }

    /// Lets go of the closure, too: it must not outlive its owner's frame.
    func work() {
      body?()
      body = nil
    }
  }

  private init() {
    pthread_mutex_init(&mutex, nil)
    pthread_cond_init(&wake, nil)
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setstacksize(&attributes, 16 << 20)
    let status = pthread_create(
      &thread, &attributes, evaluationThreadMain, Unmanaged.passUnretained(self).toOpaque())
    require(status == 0, "cannot start the evaluation thread: error \(status)")
    pthread_attr_destroy(&attributes)
  }

  /// Runs `body` on the thread and waits; runs it here when this is the thread.
  package func run<R>(_ body: () -> R) -> R {
    if pthread_equal(pthread_self(), thread) != 0 { return body() }
    var result: R?
    withoutActuallyEscaping({ result = body() }) { escapable in
      let job = Job(escapable)
      pthread_mutex_lock(&mutex)
      jobs.append(job)
      pthread_mutex_unlock(&mutex)
      pthread_cond_signal(&wake)
      pthread_mutex_lock(&mutex)
      while !job.isDone { pthread_cond_wait(&job.done, &mutex) }
      pthread_mutex_unlock(&mutex)
    }
    return result!
  }

  fileprivate func loop() {
    while true {
      pthread_mutex_lock(&mutex)
      while jobs.isEmpty { pthread_cond_wait(&wake, &mutex) }
      let job = jobs.removeFirst()
      pthread_mutex_unlock(&mutex)
      job.work()
      pthread_mutex_lock(&mutex)
      job.isDone = true
      pthread_mutex_unlock(&mutex)
      // Behind the lock, which the owner would else wake only to wait for.
      pthread_cond_signal(&job.done)
    }
  }
}

#if canImport(Darwin)
  private func evaluationThreadMain(_ context: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
    Unmanaged<EvaluationThread>.fromOpaque(context).takeUnretainedValue().loop()
    return nil
  }
#else
  private func evaluationThreadMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<EvaluationThread>.fromOpaque(context!).takeUnretainedValue().loop()
    return nil
  }
#endif
