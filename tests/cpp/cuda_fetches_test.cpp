// What comes back of a step's logits, on the emulated device, which counts the bytes.
#include <cmath>

#include "cpp/engine_world.h"
#include "cpp/first_logits.h"
#include "cpp/gpu_device.h"
#include "cpp/harness.h"
#include "cuda/emulation/runtime.h"
#include "engine/logit_rows.h"

using namespace realm;
using test::equal;
using test::first_of;
using test::Floats;

TEST(rows_are_whole_where_asked_and_fetched_where_a_list_falls_short) {
  const auto file = gguf::GgufFile::open(REALM_GOLDEN_DIR "/forward/llama-biases.gguf");
  const auto model = Model::load(file, {.device = "cuda", .n_threads = 1});
  const int64_t n_vocab = model->config().n_vocab;
  Floats values = test::normal_values(4 * n_vocab, 6);
  values[static_cast<size_t>(2 * n_vocab)] = NAN;
  const auto memory = model->backend().allocate(values.size() * sizeof(float));
  model->backend().upload(values.data(), memory->data(), values.size() * sizeof(float));
  LogitRows rows(model, 4);
  const uint64_t before = simt::device_state().bytes_downloaded;
  const int64_t lists[] = {5, 0, 1, 1};
  rows.read({reinterpret_cast<float*>(memory->data()), 4, n_vocab}, lists);
  const auto row_bytes = static_cast<uint64_t>(n_vocab) * sizeof(float);
  const uint64_t list_bytes = 4 * 6 * sizeof(TopLogit);
  EXPECT_EQ(simt::device_state().bytes_downloaded - before, list_bytes + row_bytes);
  const auto whole = [&](size_t r) {
    return std::span(values).subspan(r * static_cast<size_t>(n_vocab),
                                     static_cast<size_t>(n_vocab));
  };
  EXPECT(equal(rows.top(0), first_of(whole(0), 5)));
  EXPECT(rows.top(1).empty());
  EXPECT(rows.top(2).empty());
  EXPECT(equal(rows.top(3), first_of(whole(3), 5)));
  for (const size_t r : {1, 3, 0}) EXPECT(std::ranges::equal(rows.whole(r), whole(r)));
  EXPECT(std::isnan(rows.whole(2)[0]));
  EXPECT_EQ(simt::device_state().bytes_downloaded - before, list_bytes + 4 * row_bytes);
}
