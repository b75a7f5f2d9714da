// The C kernels behind Kalsae's CPU backend. Every function is parallel inside (see parallel.h), trusts its
// caller for shapes and pointers, and gives the same bits for the same arguments and thread count.
#pragma once
#include "ckernels/attention.h"
#include "ckernels/copy.h"
#include "ckernels/elementwise.h"
#include "ckernels/gather.h"
#include "ckernels/linear_cross_entropy.h"
#include "ckernels/memory.h"
#include "ckernels/normalize.h"
#include "ckernels/optimizer.h"
#include "ckernels/parallel.h"
#include "ckernels/pool.h"
#include "ckernels/probe.h"
#include "ckernels/random.h"
#include "ckernels/reduce.h"
#include "ckernels/scan.h"
#include "ckernels/softmax.h"
#include "ckernels/types.h"
