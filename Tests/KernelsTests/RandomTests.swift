import CKernels
import Foundation
import Testing

/// Philox 4x32-10 as random.h documents it.
private func philox(_ key: (UInt32, UInt32), _ counter: [UInt32]) -> [UInt32] {
  var c = counter, k = key
  for _ in 0..<10 {
    let p0 = UInt64(0xD251_1F53) * UInt64(c[0]), p1 = UInt64(0xCD9E_8D57) * UInt64(c[2])
    c = [
      UInt32(p1 >> 32) ^ c[1] ^ k.0, UInt32(truncatingIfNeeded: p1), UInt32(p0 >> 32) ^ c[3] ^ k.1,
      UInt32(truncatingIfNeeded: p0),
    ]
    k = (k.0 &+ 0x9E37_79B9, k.1 &+ 0xBB67_AE85)
  }
  return c
}

@Suite struct RandomTests {
  private let random = kk_random(key: (0x1234_5678, 0x9abc_def0), stream: (7, 0xffff_fffe))

  private func words(_ n: Int) -> [UInt32] {
    var all: [UInt32] = []
    for b in 0..<(n + 3) / 4 {
      all += philox((random.key.0, random.key.1), [UInt32(b), 0, random.stream.0, random.stream.1])
    }
    return Array(all[..<n])
  }

  /// Known answers of the authors' distribution (kat_vectors): counter, key and result of all zeros, all ones, pi.
  @Test func knownAnswers() {
    func check(_ key: (UInt32, UInt32), _ stream: (UInt32, UInt32), _ block: UInt64, _ expected: [UInt32]) {
      var words = [UInt32](repeating: 0, count: 4), random = kk_random(key: key, stream: stream)
      kk_philox(&random, block, &words)
      #expect(words == expected)
    }
    check((0, 0), (0, 0), 0, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8])
    check(
      (.max, .max), (.max, .max), .max, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd])
    check(
      (0xa409_3822, 0x299f_31d0), (0x1319_8a2e, 0x0370_7344), 0x85a3_08d3_243f_6a88,
      [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1])
  }

  @Test func uniformNumbersAreExact() {
    for n in [0, 1, 3, 511, 512, 513, 20_001] {
      var random = self.random
      let u = Storage(KK_F32, count: n), half = Storage(KK_BF16, count: n), range = Storage(KK_F32, count: n)
      kernels {
        kk_random_uniform(&random, Int64(n), u.data, KK_F32, 0, 1)
        kk_random_uniform(&random, Int64(n), half.data, KK_BF16, 0, 1)
        kk_random_uniform(&random, Int64(n), range.data, KK_F32, -2, 2)
      }
      let expected = words(n).map { Double($0 >> 8) / 16_777_216 }
      #expect(u.values == expected)
      #expect(half.values == representable(expected, KK_BF16))
      expectClose(range.values, expected.map { 4 * $0 - 2 }, absolute: 3e-7)
    }
  }

  /// Truth values as kk_keep documents them.
  private func truths(_ n: Int, bound: UInt32) -> [Bool] {
    let w = words(4 * ((n + 63) / 64 * 8))
    return (0..<n).map { i in
      let block = 8 * (i / 64) + i % 16 / 2
      return (w[4 * block + 2 * (i / 32 % 2) + i % 2] >> (16 * (i / 16 % 2))) & 0xffff < bound
    }
  }

  @Test(arguments: [0, 1, 6554, 16_384, 58_982, 65_535, 65_536] as [UInt32])
  func truthValuesAreExact(bound: UInt32) {
    for n in [0, 1, 3, 63, 511, 512, 513, 20_001] {
      var keep = kk_keep(random: random, bound: bound, value: 1.25)
      let mask = Storage(KK_BOOL, count: n), scaled = Storage(KK_BF16, count: n)
      kernels {
        kk_random_bernoulli(&keep, Int64(n), mask.data, KK_BOOL)
        kk_random_bernoulli(&keep, Int64(n), scaled.data, KK_BF16)
      }
      let expected = truths(n, bound: bound)
      #expect(mask.values == expected.map { $0 ? 1 : 0 })
      #expect(scaled.values == expected.map { $0 ? 1.25 : 0 })
    }
  }

  /// Any run of elements, wherever it begins and ends in a group.
  @Test func truthValuesOfARun() {
    var keep = kk_keep(random: random, bound: kk_keep_bound(0.9), value: 2)
    #expect(keep.bound == 58_982)
    let expected = truths(600, bound: keep.bound).map { $0 ? Float(2) : 0 }
    for start in [0, 1, 15, 63, 64, 65, 130] {
      for n in [0, 1, 16, 62, 63, 64, 65, 129, 400] {
        var run = [Float](repeating: -1, count: n + 1)
        kk_keep_f32(&keep, UInt64(start), n, &run)
        #expect(run == Array(expected[start..<start + n]) + [-1], "\(start), \(n)")
      }
    }
  }

  /// The rate of what is kept, and no correlation between neighbours at the distances that share a block.
  @Test func statisticsOfTruthValues() {
    let n = 1_000_000, probability = 0.9
    var keep = kk_keep(random: random, bound: kk_keep_bound(probability), value: 1)
    var values = [Float](repeating: 0, count: n)
    kk_keep_f32(&keep, 0, n, &values)
    let deviation = (probability * (1 - probability)).squareRoot(), error = 1 / Double(n).squareRoot()
    let mean = values.reduce(0) { $0 + Double($1) } / Double(n)
    #expect(abs(mean - probability) < 4 * deviation * error)
    for distance in [1, 2, 8, 15, 16, 17, 32, 33, 48, 64, 128] {
      let sum = (0..<n - distance).reduce(0.0) {
        $0 + (Double(values[$1]) - probability) * (Double(values[$1 + distance]) - probability)
      }
      #expect(abs(sum / Double(n) / (deviation * deviation)) < 4.5 * error, "distance \(distance)")
    }
  }

  @Test func normalFollowsTheFormula() {
    for n in [1, 2, 515, 40_003] {
      var random = self.random
      let z = Storage(KK_F32, count: n)
      kernels { kk_random_normal(&random, Int64(n), z.data, KK_F32, 0.5, 2) }
      let w = words((n + 3) / 4 * 4)
      let expected = (0..<n).map { i -> Double in
        let p = Double((w[i & ~1] >> 8) + 1) / 16_777_216, q = Double(w[i | 1] >> 8) / 16_777_216
        let r = (-2 * log(p)).squareRoot()
        return 0.5 + 2 * r * (i & 1 == 0 ? cos(2 * .pi * q) : sin(2 * .pi * q))
      }
      expectClose(z.values, expected, absolute: 4e-6)
    }
  }

  @Test func momentsOfNormal() {
    var random = self.random
    let n = 1_000_000, z = Storage(KK_F32, count: n)
    kernels { kk_random_normal(&random, Int64(n), z.data, KK_F32, 0, 1) }
    let v = z.values
    let mean = v.reduce(0, +) / Double(n), variance = v.reduce(0) { $0 + $1 * $1 } / Double(n)
    let fourth = v.reduce(0) { $0 + $1 * $1 * $1 * $1 } / Double(n)
    #expect(abs(mean) < 0.004 && abs(variance - 1) < 0.006 && abs(fourth - 3) < 0.05)
  }
}
