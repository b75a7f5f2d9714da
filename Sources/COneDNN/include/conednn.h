/// oneDNN behind a narrow C interface: convolutions and matrix products, each built once and run many times.
///
/// Conventions, for every function here
/// - A *handle* is one compiled primitive: shapes, types, strides and post-ops are fixed when it is created. It
///   holds no tensor memory. One handle must not run on two threads at once; different handles may.
/// - A function that can fail takes `message` and `capacity`: on failure it returns NULL or non-zero and writes
///   one null-terminated line there (cut to `capacity`; NULL and 0 are allowed). No C++ exception escapes.
/// - Sizes in bytes are `size_t`; dimensions and strides are `int64_t`, strides in *elements*.
/// - `scratch` is the caller's, at least the handle's `scratch_bytes`, 64-byte aligned, and undefined before and
///   after a run: an arena may lend the same bytes to other steps. It may be NULL if `scratch_bytes` is 0.
/// - A handle runs on the calling thread and that thread's OpenMP pool, with the number of threads it was created
///   with (`conednn_set_threads`); running it with another number is an error, since scratch depends on it.
/// - Every dimension must be positive: an empty tensor is the caller's to handle, and creation fails on one.
/// - Results repeat bit for bit for the same handle description, thread count, machine and library version.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// MARK: The library

/// Version of the oneDNN that is loaded, for example "2.6.3".
const char *conednn_version(void);

/// The instruction set that oneDNN generates code for, for example "avx512_core_bf16".
const char *conednn_isa(void);

/// Whether this processor multiplies bfloat16 in hardware; without, bfloat16 is slower than float32 or missing.
bool conednn_bf16_fast(void);

/// Sets how many OpenMP threads oneDNN uses when called from the calling thread; values below 1 mean 1.
/// Handles made before with another number refuse to run.
void conednn_set_threads(int count);

/// The number of OpenMP threads that a handle created now on the calling thread would use.
int conednn_threads(void);

// MARK: Types

typedef enum { CONEDNN_F32 = 0, CONEDNN_BF16 = 1 } conednn_dtype;

/// Bytes of one element.
size_t conednn_dtype_size(conednn_dtype type);

/// Elementwise function applied to the result.
typedef enum {
  CONEDNN_IDENTITY = 0,
  CONEDNN_RELU = 1,       ///< max(x, 0)
  CONEDNN_SWISH = 2,      ///< x / (1 + exp(-x)), also called SiLU
  CONEDNN_GELU_ERF = 3,   ///< x Phi(x); matrix product only
  CONEDNN_GELU_TANH = 4,  ///< tanh approximation of the above; matrix product only
} conednn_activation;

typedef enum { CONEDNN_NO_BIAS = 0, CONEDNN_BIAS_F32 = 1, CONEDNN_BIAS_SAME = 2 } conednn_bias;

// MARK: Convolution

typedef enum {
  /// dst (n, oh, ow, k) = act(conv(src (n, h, w, c), weights) + bias (k) + old dst)
  CONEDNN_CONV_FORWARD = 0,
  /// diff_src (n, h, w, c) from diff_dst (n, oh, ow, k) and weights; also the transposed convolution of a
  /// (n, oh, ow, k) map to the explicit size (n, h, w, c), whose (in, out / groups, kh, kw) parameter already
  /// has the layout of `weights`. No bias and no post-op.
  CONEDNN_CONV_BACKWARD_DATA = 1,
  /// diff_weights, and diff_bias (k) if asked for, from src (n, h, w, c) and diff_dst (n, oh, ow, k).
  CONEDNN_CONV_BACKWARD_WEIGHTS = 2,
} conednn_conv_kind;

typedef enum {
  CONEDNN_AUTO = 0,      ///< what `conednn_conv_rule` says; direct where the library lacks Winograd
  CONEDNN_DIRECT = 1,
  CONEDNN_WINOGRAD = 2,  ///< F(4x4, 3x3): float32, 3x3, stride 1, dilation 1, groups 1
} conednn_algorithm;

/// A convolution. Activations are dense (N, H, W, C). With e = (kernel - 1) dilation + 1, the output has
/// oh = (h + pad_top + pad_bottom - e_h) / stride_h + 1 rows, rounded down, and ow alike.
typedef struct {
  conednn_conv_kind kind;
  conednn_algorithm algorithm;
  int64_t n, h, w, c;              ///< the larger map: src, or diff_src
  int64_t k, kh, kw;               ///< output channels, kernel
  int64_t stride_h, stride_w;
  int64_t dilation_h, dilation_w;  ///< 1 is a dense kernel
  int64_t pad_top, pad_left, pad_bottom, pad_right;
  int64_t groups;                  ///< divides c and k; weights are (k, c / groups, kh, kw)
  conednn_dtype type;              ///< of src, diff_dst and packed weights: everything that is read
  conednn_dtype output;            ///< of dst, diff_src or packed diff_weights; F32, or BF16 if `type` is BF16
  conednn_bias bias;               ///< forward: added; backward weights: diff_bias is computed, in this type
  bool accumulate;                 ///< forward: the old dst is added, before the activation
  conednn_activation activation;   ///< forward: IDENTITY, RELU or SWISH, applied last
  bool allow_reference;            ///< accept the library's slow reference code instead of failing
} conednn_conv_desc;

/// What `CONEDNN_AUTO` chooses for this description on AVX-512, from shapes alone (see Rules.cpp for the
/// measurements). Never times anything, so that runs and resumes repeat.
conednn_algorithm conednn_conv_rule(const conednn_conv_desc *desc);

typedef struct conednn_conv conednn_conv;

typedef struct {
  size_t scratch_bytes;
  size_t packed_bytes;         ///< of packed weights, or of the packed weights gradient
  uint64_t packed_layout;      ///< equal for handles whose packed weights are interchangeable
  int64_t out_h, out_w;        ///< oh, ow
  conednn_algorithm algorithm; ///< the one taken: DIRECT or WINOGRAD
  const char *implementation;  ///< for example "brgconv:avx512_core"; lives as long as the handle
} conednn_conv_info;

/// Builds the primitive. Fails on a bad description, and if only reference code exists unless `allow_reference`.
conednn_conv *conednn_conv_create(const conednn_conv_desc *desc, char *message, size_t capacity);
void conednn_conv_destroy(conednn_conv *conv);
conednn_conv_info conednn_conv_get_info(const conednn_conv *conv);

/// Dense `weights` (k, c / groups, kh, kw) of type `source` to the layout that forward and backward-data want,
/// `packed_bytes` bytes at `packed`: cast and reordering in one pass.
int conednn_conv_pack(
  conednn_conv *conv, const void *weights, conednn_dtype source, void *packed, char *message, size_t capacity);

/// The packed gradient of a backward-weights run to dense (k, c / groups, kh, kw) of type `target`.
int conednn_conv_unpack(
  conednn_conv *conv, const void *packed, conednn_dtype target, void *weights, char *message, size_t capacity);

/// `bias` is NULL exactly if the description has none. `dst` must not overlap `src`.
int conednn_conv_forward(
  conednn_conv *conv, const void *src, const void *packed, const void *bias, void *dst, void *scratch,
  char *message, size_t capacity);

int conednn_conv_backward_data(
  conednn_conv *conv, const void *diff_dst, const void *packed, void *diff_src, void *scratch, char *message,
  size_t capacity);

/// Overwrites `packed_gradient` (`packed_bytes`) and, if described, `diff_bias` (k).
int conednn_conv_backward_weights(
  conednn_conv *conv, const void *src, const void *diff_dst, void *packed_gradient, void *diff_bias,
  void *scratch, char *message, size_t capacity);

// MARK: Matrix product

#define CONEDNN_MAX_BATCH_RANK 4

/// C (b..., m, n) = act(A (b..., m, k) B (b..., k, n) + bias (n) + old C).
///
/// A and B may have any strides: one that no fast kernel reads in place (neither of the last two strides 1) is
/// copied to scratch first. Batch strides of 0 broadcast A or B. C is row-major with rows of stride `c_row`;
/// its elements must be distinct. Batches that are one tall matrix are multiplied as one.
typedef struct {
  int64_t m, k, n;
  int32_t batch_rank;                              ///< 0 ... CONEDNN_MAX_BATCH_RANK
  int64_t batch[CONEDNN_MAX_BATCH_RANK];           ///< outermost first; the first `batch_rank` are read
  int64_t a_batch[CONEDNN_MAX_BATCH_RANK];         ///< strides
  int64_t b_batch[CONEDNN_MAX_BATCH_RANK];
  int64_t c_batch[CONEDNN_MAX_BATCH_RANK];
  int64_t a_row, a_column;                         ///< strides of A along m and k
  int64_t b_row, b_column;                         ///< strides of B along k and n; ignored if `packed`
  int64_t c_row;
  conednn_dtype type;                              ///< of A and B
  conednn_dtype output;                            ///< of C; F32, or BF16 if `type` is BF16
  bool bias;                                       ///< float32, along n
  bool accumulate;                                 ///< the old C is added, before the activation
  conednn_activation activation;                   ///< applied last
  bool packed;                                     ///< B comes from `conednn_matmul_pack` and has no batch
  bool allow_reference;
} conednn_matmul_desc;

typedef struct conednn_matmul conednn_matmul;

typedef struct {
  size_t scratch_bytes;
  size_t packed_bytes;         ///< of packed B; 0 unless `packed`
  uint64_t packed_layout;      ///< equal for handles whose packed B are interchangeable
  /// Of a packed B in bfloat16 that lies as (n / 64, k / 2, 64, 2), zeros beyond B: numbers from one panel of 64 columns to the
  /// next. 0 for every other arrangement.
  int64_t packed_panel;
  const char *implementation;  ///< for example "brg:avx512_core"; lives as long as the handle
} conednn_matmul_info;

conednn_matmul *conednn_matmul_create(const conednn_matmul_desc *desc, char *message, size_t capacity);
void conednn_matmul_destroy(conednn_matmul *matmul);
conednn_matmul_info conednn_matmul_get_info(const conednn_matmul *matmul);

/// B (k, n) of type `source` with strides `row` along k and `column` along n, so (n, k) weights have row 1 and
/// column k, to the layout that a `packed` handle wants: cast and reordering in one pass.
int conednn_matmul_pack(
  conednn_matmul *matmul, const void *b, conednn_dtype source, int64_t row, int64_t column, void *packed,
  char *message, size_t capacity);

/// `bias` is NULL exactly if the description has none. `c` must not overlap `a` or `b`.
int conednn_matmul_run(
  conednn_matmul *matmul, const void *a, const void *b, const void *bias, void *c, void *scratch, char *message,
  size_t capacity);

#ifdef __cplusplus
}
#endif
