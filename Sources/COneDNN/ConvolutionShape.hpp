// What a convolution's description means, before any primitive exists.
#pragma once

#include "Support.hpp"

namespace conednn {

int64_t outputHeight(const conednn_conv_desc &desc);
int64_t outputWidth(const conednn_conv_desc &desc);

/// One line for messages: kind, types and shapes.
std::string describe(const conednn_conv_desc &desc);

/// Throws `Failure` with the rule that the description breaks.
void validate(const conednn_conv_desc &desc);

}  // namespace conednn
