// Updates of many tensors in one launch. A list is `count` pointers and their sizes in elements; all values
// are f32. Scalars come through pointers, so that one prepared call serves every step. Work is shared out by
// elements, not by tensors; results do not depend on the number of threads.
#pragma once
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/// *result = scale sum over the list of x^2, accumulated in f64.
void kk_sum_of_squares(
    int32_t count, const float *const *x, const int64_t *sizes, double scale, float *result);

/// Scalars of one Adam step. `finite` NULL or non-zero: update; zero: write nothing. No
/// `gradient_scale` (NULL) is 1.
typedef struct {
  const float *learning_rate, *beta1, *beta2, *epsilon, *weight_decay;
  const float *correction1, *correction2;  // 1 - beta1^t, 1 - beta2^t
  const float *gradient_scale;
  const uint8_t *finite;
  bool decoupled;  // AdamW: decays the parameter; else weight_decay p joins the gradient
  float *const *averages;      // of the parameters, updated as by kk_ema_update, or NULL
  const float *average_decay;  // or NULL
} kk_adam;

/// In place, with g = gradient_scale gradient (+ weight_decay p if not decoupled):
///
///     m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2
///     p = p (1 - learning_rate weight_decay if decoupled)
///           - learning_rate (m / correction1) / (sqrt(v / correction2) + epsilon)
void kk_adam_update(
    const kk_adam *adam, int32_t count, float *const *parameters, const float *const *gradients,
    float *const *m, float *const *v, const int64_t *sizes);

/// Scalars of one SGD step; `finite` and `gradient_scale` as in kk_adam.
typedef struct {
  const float *learning_rate, *momentum, *weight_decay;
  const float *gradient_scale;
  const uint8_t *finite;
  bool nesterov;
} kk_sgd;

/// In place, with g = gradient_scale gradient + weight_decay p:
///
///     b = momentum b + g,   p = p - learning_rate (g + momentum b if nesterov, else b)
///
/// `buffers` NULL: no momentum, p = p - learning_rate g. A buffer starts at 0.
void kk_sgd_update(
    const kk_sgd *sgd, int32_t count, float *const *parameters, const float *const *gradients,
    float *const *buffers, const int64_t *sizes);

/// average = decay average + (1 - decay) x, in place; nothing is written where *finite is zero (NULL:
/// always).
void kk_ema_update(
    const float *decay, const uint8_t *finite, int32_t count, float *const *averages, const float *const *x,
    const int64_t *sizes);

#ifdef __cplusplus
}
#endif
