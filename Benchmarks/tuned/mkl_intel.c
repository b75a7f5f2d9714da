// Preloaded, makes MKL take its AVX-512 kernels on processors of other makers that have AVX-512.
int mkl_serv_intel_cpu(void) { return 1; }
int mkl_serv_intel_cpu_true(void) { return 1; }
