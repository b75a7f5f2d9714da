// Times llama.cpp on `kalsae bench gpt2-decode`: a prompt of 16 tokens, then 64 tokens one after the other, each
// the most probable.
//
//   gpt2_decode MODEL.gguf THREADS REPEATS
//
// Prints one JSON object: the seconds of each run after two that are not counted, and the peak memory.

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "llama.h"

namespace {

[[noreturn]] void fail(const char *message) {
  std::fprintf(stderr, "gpt2_decode: %s\n", message);
  std::exit(1);
}

llama_token most_probable(llama_context *context, int words) {
  const float *logits = llama_get_logits_ith(context, -1);
  return static_cast<llama_token>(std::max_element(logits, logits + words) - logits);
}

void decode(llama_context *context, std::vector<llama_token> prompt, int words) {
  llama_memory_clear(llama_get_memory(context), false);
  if (llama_decode(context, llama_batch_get_one(prompt.data(), static_cast<int>(prompt.size()))))
    fail("llama_decode cannot read the prompt");
  for (int i = 0; i < 64; i++) {
    llama_token next = most_probable(context, words);
    if (llama_decode(context, llama_batch_get_one(&next, 1))) fail("llama_decode cannot go on");
  }
}

}  // namespace

int main(int count, char **arguments) {
  if (count != 4) fail("expects MODEL.gguf THREADS REPEATS");
  const int threads = std::atoi(arguments[2]), repeats = std::atoi(arguments[3]);
  llama_log_set([](ggml_log_level level, const char *text, void *) {
    if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
  }, nullptr);
  llama_backend_init();
  llama_model_params loading = llama_model_default_params();
  // Read, not mapped, so that the allocator may use huge pages.
  loading.load_mode = LLAMA_LOAD_MODE_NONE;
  llama_model *model = llama_model_load_from_file(arguments[1], loading);
  if (!model) fail("cannot load the model");
  llama_context_params settings = llama_context_default_params();
  settings.n_ctx = 1024;
  settings.n_threads = settings.n_threads_batch = threads;
  llama_context *context = llama_init_from_model(model, settings);
  if (!context) fail("cannot make a context");

  const int words = llama_vocab_n_tokens(llama_model_get_vocab(model));
  std::vector<llama_token> prompt;
  for (int i = 0; i < 16; i++) prompt.push_back((i * 3001 + 17) % words);
  std::vector<double> seconds;
  for (int run = 0; run < repeats + 2; run++) {
    const auto start = std::chrono::steady_clock::now();
    decode(context, prompt, words);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (run >= 2) seconds.push_back(elapsed.count());
  }
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  std::printf("{\"seconds\": [");
  for (size_t i = 0; i < seconds.size(); i++) std::printf("%s%.6f", i ? ", " : "", seconds[i]);
  std::printf("], \"peak_rss_mib\": %.1f, \"features\": \"%s\"}\n", usage.ru_maxrss / 1024.0,
              llama_print_system_info());
}
