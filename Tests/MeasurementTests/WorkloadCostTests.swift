import KalsaeMeasurement
import KalsaeRuntime
import KalsaeTensors
import Testing

/// Costs that do not depend on what else the machine does: a change of the compiler or a kernel changes them knowingly.
@Suite(.serialized) struct WorkloadCostTests {
  static let update =
    "KALSAE_UPDATE_SNAPSHOTS=1 swift test -c release --no-parallel --filter WorkloadCostTests"

  @Test(
    .enabled(
      if: WorkloadCosts.machine == WorkloadCosts.storedMachine,
      "the stored costs are those of \(WorkloadCosts.storedMachine); here is \(WorkloadCosts.machine)"),
    arguments: Workload.allCases)
  func areThoseStored(_ workload: Workload) throws {
    var columns = [WorkloadCosts(workload, .float32), WorkloadCosts(workload, .bfloat16)]
    if workload.isTraining {
      columns.append(WorkloadCosts(workload, .float32, recomputes: true))
      columns.append(WorkloadCosts(workload, .bfloat16, recomputes: true))
    }
    let batch = workload.batchSize.map { ", batch \($0)" } ?? ""
    let heading = "\(workload.rawValue)\(batch): one step on \(WorkloadCosts.threads) threads, "
    try Snapshot("costs/\(workload.rawValue).txt").expect(
      heading + WorkloadCosts.storedMachine + "\n\n" + WorkloadCosts.table(columns), update: Self.update)
  }

  /// Or the costs would be those of something else.
  @Test(arguments: [Workload.ddpmSample, .bertBase])
  func aBackendThatComputesNothingPlansAsTheOneThatDoes(_ workload: Workload) {
    let planning = WrappedBackend.planning(threads: WorkloadCosts.threads)
    Backends.with(planning) {
      Autocast.with(.bfloat16) {
        let (tensors, slots) = PreparedWorkload(workload, precision: .bfloat16, batch: 1).step(0)
        let plan = Evaluator.shared.plan(for: tensors, slots: slots, backend: planning)
        let real = Evaluator.shared.plan(for: tensors, slots: slots, backend: planning.cpu)
        #expect(plan.description == real.description)
        #expect(plan.keptBytes == real.keptBytes && plan.steps.count > 100)
      }
    }
  }

  @Test func differencesAreReadable() {
    let text = Snapshot.difference("a\nb 1\nc", "a\nb 2\nc\nd")
    #expect(text == "- 2: b 1\n+ 2: b 2\n+ 4: d")
    let stored = "mallocs, evaluation   150 1000\nsteps   7"
    #expect(Snapshot.settled("mallocs, evaluation   153  990\nsteps   8", stored) == stored.dropLast() + "8")
    let more = "mallocs, evaluation   180 1000\nsteps   7"
    #expect(Snapshot.settled(more, stored) == more)
  }
}
