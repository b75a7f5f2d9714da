import Kalsae
import Testing

private struct FeedForward: Module {
  let net: [any Layer]
  init(_ d: Int) { net = [Linear(d, 4 * d), Dropout(0.1), Linear(4 * d, d)] }
}

private struct Block: Module {
  let ln_1: LayerNorm, ff: FeedForward, to_out: [Linear]
  let mid: Linear?, end: Linear?
  let scale: Tensor
  let table = [1, 2, 3]
  init(_ d: Int) {
    ln_1 = LayerNorm(d)
    ff = FeedForward(d)
    to_out = [Linear(d, d, bias: false)]
    mid = nil
    end = Linear(d, 1, bias: false)
    scale = .ones([d])
  }
}

private enum Resampler: Module {
  case none
  case conv(Conv2d)
}

private struct Net: Module {
  let h: [Block], wte: Linear, lm_head: Linear
  let norm = BatchNorm(4)
  let resamplers: [Resampler] = [.none, .conv(Conv2d(1, 2, kernel: 3))]
  init() {
    h = (0..<2).map { _ in Block(4) }
    wte = Linear(4, 6, bias: false)
    lm_head = Linear(weight: wte.weight)
  }
}

@Suite struct ModuleTests {
  @Test func keysAreThePropertyNames() {
    let contents = Net().contents
    let block = [
      "ln_1.weight", "ln_1.bias", "ff.net.0.weight", "ff.net.0.bias", "ff.net.2.weight", "ff.net.2.bias",
      "to_out.0.weight", "end.weight",
    ]
    #expect(
      contents.parameters.map(\.path) == block.map { "h.0." + $0 } + block.map { "h.1." + $0 } + [
        "wte.weight", "norm.weight", "norm.bias", "resamplers.1.weight", "resamplers.1.bias",
      ])
    #expect(
      contents.states.map(\.path) == [
        "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
      ])
  }

  @Test func aTiedParameterIsListedOnceWithItsOtherKeys() throws {
    let contents = Net().contents
    let tied = try #require(contents.parameters.first { $0.path == "wte.weight" })
    #expect(tied.aliases == ["lm_head.weight"])
    #expect(contents.parameters.filter { !$0.aliases.isEmpty }.count == 1)
  }

  @Test func countsTrainedNumbers() {
    let block = 8 + (16 * 4 + 16) + (4 * 16 + 4) + 16 + 4
    #expect(Net().contents.parameterCount == 2 * block + 24 + 8 + (2 * 9 + 2))
  }

  @Test func classesAreModulesToo() {
    class Base: @unchecked Sendable, Module { let first = Linear(1, 1, bias: false) }
    final class Derived: Base, @unchecked Sendable { let second = Linear(1, 1, bias: false) }
    #expect(Derived().contents.parameters.map(\.path) == ["second.weight", "first.weight"])
  }

  private func message(_ module: some Module) -> String {
    do {
      _ = try ModuleContents(reflecting: module)
      return ""
    } catch { return error.description }
  }

  @Test func aParameterThatCannotBeReachedIsAnErrorWithItsPath() {
    struct Holder<Content: Sendable>: Module {
      let fine = Linear(1, 1)
      let content: Content
    }
    struct Plain: Sendable { let inner = Linear(1, 1) }
    struct Lazy: Module {
      let fine = Linear(1, 1)
      lazy var late = Linear(1, 1)
    }
    #expect(
      message(Holder(content: (Linear(1, 1), 3))).hasPrefix("content.0.weight: a parameter inside a tuple"))
    #expect(
      message(Holder(content: [Holder(content: (x: Parameter(.zeros([1])), y: 0))]))
        .hasPrefix("content.0.content.x: a parameter inside a tuple"))
    #expect(message(Holder(content: ["a": Linear(1, 1)])).contains("a parameter inside a dictionary"))
    #expect(message(Holder(content: Plain())).hasPrefix("content.inner.weight: a parameter inside Plain"))
    #expect(message(Lazy()).hasPrefix("late: a parameter inside a lazy property"))
    #expect(message(Holder(content: ["a": 1])) == "")
  }

  @Test func aModuleWithoutParametersIsAnError() {
    struct Empty: Module { let dropout = Dropout(0.5) }
    let error = #expect(throws: ModuleError.self) { try ModuleContents(reflecting: Empty()) }
    #expect(error?.description == "Empty has no parameter: hold them in stored properties")
  }

  @Test func reachingItWithoutTryTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      struct Empty: Module {}
      _ = Empty().contents
    }
    #expect(
      printed(by: result).contains("Empty has no parameter"))
  }
}

/// What a process that was expected to trap wrote to standard error.
func printed(by result: ExitTest.Result?) -> String {
  String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
}
