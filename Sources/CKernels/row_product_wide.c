// Rows times rows of b for processors of level x86-64-v4: with registers of 32 bytes, which compilers prefer there, too few
// loads are under way for the fastest memory (a fifth more time at 70 GB/s, none at 45).
#include "row_product_job.h"

#if defined(__x86_64__) && !defined(KK_BASELINE)
#define TARGET __attribute__((target("arch=x86-64-v4"), min_vector_width(512)))
#define FUNCTION TARGET static
#include "row_product_spans.h"

void kk_multiply_span_wide(const kk_row_product_job *j, const kk_row_span *span) { multiply_span(j, span); }
#else
void kk_multiply_span_wide(const kk_row_product_job *j, const kk_row_span *span) { (void)j, (void)span; }
#endif
