#include "conednn.h"
