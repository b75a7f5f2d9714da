import Kalsae
import KalsaeMeasurement
import Testing

/// Which kernels the training step of the DDPM paper's network gets.
@Suite struct UNet2DPlanTests {
  @Test(arguments: [DType.float32, .bfloat16])
  func everyProductAndConvolutionHasAFastKernel(_ precision: DType) throws {
    let report = try ModelReport(
      UNet2DModel(.ddpmCIFAR10), diffusion: DiffusionConfig(), batchSize: 2,
      precision: precision == .float32 ? nil : precision, threads: 2)
    let names = report.plan.steps.map(\.kernel)
    let heavy = names.filter { name in
      ["oneDNN", "[rows]", "[pairs of images]"].contains { name.contains($0) }
    }
    #expect(heavy.count > 300, "\(report.plan.kernels)")
    // oneDNN's reference code ("ref:any", "gemm:ref") is hundreds of times slower.
    #expect(!heavy.contains { $0.contains("ref") }, "\(report.plan.kernels)")
    // A product of bfloat16 that goes through float32 has no kernel of its own.
    #expect(!names.contains { $0.contains("[float32 ") }, "\(report.plan.kernels)")
  }
}
