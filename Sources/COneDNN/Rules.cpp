// Which implementation a shape gets: fixed rules, from measurements on two Zen 5 cores (AVX-512, oneDNN 2.6.3).
// "a / b" below are GFLOPS of the two candidates, reorders charged; Winograd's count the direct method's products.

#include <algorithm>

#include "ConvolutionShape.hpp"
#include "MatmulShape.hpp"

using namespace conednn;

namespace {

/// Tiles of 4x4 outputs that Winograd transforms, each counted with the share of it that lies in the map.
double usefulTiles(const conednn_conv_desc &d) {
  double h = outputHeight(d), w = outputWidth(d);
  auto share = [](double size) { return size / (4 * double((int64_t(size) + 3) / 4)); };
  return double(d.n) * h * w / 16 * share(h) * share(w);
}

}  // namespace

// direct / Winograd, float32, n x h x h, c -> c:
//   forward           16x32 128: 471 / 845   16x16 256: 525 / 1100   16x8 256: 527 / 596   16x4 256: 517 / 310
//                     16x32 32: 522 / 559    16x16 64: 539 / 780     4x32 512: 496 / 1126  1x16 512: 541 / 272
//   backward-data     16x32 128: 398 / 879   16x16 256: 443 / 1040   16x8 256: 504 / 617   16x4 256: 648 / 350
//   backward-weights  16x32 128: 434 / 664   16x16 256: 434 / 718    16x8 256: 452 / 889   16x32 64: 400 / 464
// and bfloat16, Winograd in float32 inside:
//   forward           16x16 512: 994 / 1219  64x8 256: 1049 / 1232   4x32 640: 931 / 1127  16x32 128: 947 / 846
//   backward-data     16x16 512: 907 / 1083  64x8 256: 949 / 1228    4x32 640: 932 / 1207  16x32 128: 949 / 833
//   backward-weights  16x16 512: 821 / 1073  64x8 256: 764 / 913     64x4 256: 311 / 938   16x32 256: 782 / 807
conednn_algorithm conednn_conv_rule(const conednn_conv_desc *desc) {
  const conednn_conv_desc &d = *desc;
  bool fits = d.kh == 3 && d.kw == 3 && d.stride_h == 1 && d.stride_w == 1 && d.dilation_h == 1
           && d.dilation_w == 1 && d.groups == 1;
  if (!fits) return CONEDNN_DIRECT;
  int64_t channels = std::min(d.c, d.k), side = std::min(outputHeight(d), outputWidth(d));
  double tiles = usefulTiles(d), needed = 1e30;
  bool isWeights = d.kind == CONEDNN_CONV_BACKWARD_WEIGHTS;
  if (d.type == CONEDNN_BF16) {
    if (channels >= 320) needed = 256;
    else if (channels >= 256 && !isWeights) needed = 512;
    if (isWeights && side <= 4 && channels >= 64) needed = 64;
  } else if (isWeights) {
    needed = channels >= 128 ? 32 : channels >= 64 ? 196 : 1e30;
  } else {
    bool isSmall = side < 8;  // direct kernels skip the padding, which is most of a small map's work
    needed = channels >= 512 ? 48
           : channels >= 256 ? (isSmall ? 128 : 48)
           : channels >= 64  ? 144
           : channels >= 32  ? 768
                             : 1e30;
  }
  return tiles >= needed ? CONEDNN_WINOGRAD : CONEDNN_DIRECT;
}

namespace conednn {

// brgconv / jit, n x 4x4: float32 16x 512->256: 300 / 545, 256->256: 512 / 547; bfloat16 16x 256->256: 767 / 1410.
// At 8x8 and above brgconv is ahead, 579 / 517.
bool prefersJit(const conednn_conv_desc &d) {
  return d.groups == 1 && d.kh * d.kw > 1 && outputHeight(d) * outputWidth(d) <= 16;
}

// brgemm / gemm, m x k x n, N and T for A and B as they are or transposed:
//   float32   1x4096x4096 NN: 12 / 41    2048x768x3072 NN: 463 / 498   768x4096x768 NN: 412 / 512, NT: 475 / 336
//             512x512x512 NT: 507 / 394  2048x768x3072 TN: 421 / 493   4x768x3072 NN: 280 / 250
//   bfloat16  1x768x3072 NN: 37 / 156    768x2048x3072 TN: 825 / 925   320x8192x320 TN: 677 / 854
//             32x768x3072 NN: 609 / 732  4096x256x256 TN: 928 / 792    64x2048x2048 NT: 759 / 652
bool prefersGemm(const MatmulShape &shape, conednn_dtype type) {
  int64_t m = shape.m(), k = shape.k(), n = shape.n();
  if (m == 1) return true;
  if (type == CONEDNN_BF16) {
    if (shape.b.isTransposed()) return m <= 128 && k <= 1024 && n >= k;
    return k * n >= 1 << 19 && m <= (shape.a.isTransposed() ? 1024 : 128);
  }
  if (shape.b.isTransposed()) return m >= 64 && n >= 3072 && n >= k;
  return m >= 64 && k * n >= 1 << 20;
}

}  // namespace conednn
