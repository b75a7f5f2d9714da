// What a product does to its sums before they are stored.
#pragma once
#include "ckernels/activation.h"
#include "common.h"

/// y = act(y + bias + old); bias and old may be NULL.
void kk_finish_row(float *y, int64_t n, const float *bias, const float *old, kk_activation activation);
