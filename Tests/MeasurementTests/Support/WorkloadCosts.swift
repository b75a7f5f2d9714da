import CMallocCount
import KalsaeCPUBackend
import KalsaeMeasurement
import KalsaeRuntime
import KalsaeTensors

/// What one step of a workload costs, known without running it: its kernels are compiled, and do nothing.
struct WorkloadCosts {
  let title: String
  let plan: Plan
  /// How often a step that is not the first asks for memory on the thread that builds its graph and evaluates it, and one
  /// whose graph is known.
  let mallocsBuilding: Int, mallocsEvaluating: Int, mallocsRepeating: Int

  static let threads = 2
  /// What the stored numbers hold for: scratch memory and packed weights are oneDNN's choice for the processor.
  static let storedMachine = "avx512_core_bf16, oneDNN 2.6.3"
  static var machine: String { "\(Machine.instructionSet), oneDNN \(Machine.oneDNNVersion)" }

  init(_ workload: Workload, _ precision: DType, recomputes: Bool = false) {
    let backend = WrappedBackend.planning(threads: Self.threads)
    // On the thread that evaluates, so that all of a step is counted there.
    let (plan, building, evaluating, repeating) = EvaluationThread.shared.run {
      Backends.with(backend) {
        Autocast.with(precision == .bfloat16 ? precision : nil) {
          let prepared = PreparedWorkload(workload, precision: precision, batch: workload.batchSize ?? 1)
          func step(_ index: Int) -> ([Tensor], [Slot]) {
            Recomputation.with(recomputes) { prepared.step(index) }
          }
          for index in 0..<2 {
            let (tensors, slots) = step(index)
            evaluate(tensors, slots: slots)
          }
          let start = malloc_count()
          let (tensors, slots) = step(2)
          let built = malloc_count()
          evaluate(tensors, slots: slots)
          let end = malloc_count()
          var repeated = RepeatedStep(), before = 0
          Recomputation.with(recomputes) {
            for index in 3..<6 {
              let next = prepared.evaluation(index)
              before = malloc_count()
              _ = repeated(next.inputs, slots: next.slots, next.graph)
            }
          }
          let known = malloc_count()
          let (next, nextSlots) = step(6)
          let plan = Evaluator.shared.plan(for: next, slots: nextSlots, backend: backend)
          return (plan, built - start, end - built, known - before)
        }
      }
    }
    title = "\(precision)" + (recomputes ? " recomputing" : "")
    (self.plan, mallocsBuilding, mallocsEvaluating) = (plan, building, evaluating)
    mallocsRepeating = repeating
  }

  private var rows: [(name: String, value: Int)] {
    [
      ("steps", plan.steps.count), ("arena bytes", plan.arenaBytes),
      ("largest scratch bytes", plan.steps.map(\.kernel.scratchBytes).max() ?? 0),
      ("kept bytes", plan.keptBytes), ("bytes moved", plan.bytesMoved), ("FLOPs", Int(plan.flops)),
      ("mallocs, graph", mallocsBuilding), ("mallocs, evaluation", mallocsEvaluating),
      ("mallocs, known graph", mallocsRepeating),
    ]
  }

  private var steps: [String: Int] {
    Dictionary(plan.steps.map { (type(of: $0.op).name, 1) }, uniquingKeysWith: +)
  }

  /// The costs side by side: totals, then the number of steps of each op.
  static func table(_ columns: [WorkloadCosts]) -> String {
    let ops = Set(columns.flatMap { $0.steps.keys }).sorted()
    let totals = columns[0].rows.indices.map { row in
      Snapshot.line(columns[0].rows[row].name, columns.map { "\($0.rows[row].value)" })
    }
    let counts = ops.map { op in Snapshot.line(op, columns.map { "\($0.steps[op] ?? 0)" }) }
    return ([Snapshot.line("", columns.map(\.title))] + totals + ["", "steps of each op"] + counts)
      .joined(separator: "\n") + "\n"
  }
}
