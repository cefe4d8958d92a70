// Turns on a backend: one at a time has it, those who are modest give way, and nobody waits for
// ever.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cpp/harness.h"
#include "gguf/reader.h"
#include "lora/adapter_source.h"
#include "model/backend_turns.h"
#include "model/model.h"

using namespace realm;

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

void spend(milliseconds time) {
  const auto end = Clock::now() + time;
  while (Clock::now() < end) {
  }
}

// Takes turns of 1 ms or more until `stop`; the time that it had.
template <class Turn>
Clock::duration hurry(const std::atomic<bool>& stop, BackendTurns& turns) {
  Clock::duration had{0};
  while (!stop) {
    const Turn turn(turns);
    const auto begin = Clock::now();
    spend(milliseconds(1));
    had += Clock::now() - begin;
  }
  return had;
}

struct Modest : ModestTurn {
  explicit Modest(BackendTurns& turns) : ModestTurn(turns, nullptr) {}
};
using Other = std::lock_guard<BackendTurns>;

// What three modest threads had of a backend together, and what one other had beside them.
std::pair<Clock::duration, Clock::duration> shares_of_a_busy_backend() {
  BackendTurns turns;
  std::atomic<bool> stop{false};
  Clock::duration modest[3], others{0};
  std::vector<std::thread> threads;
  for (Clock::duration& had : modest)
    threads.emplace_back([&] { had = hurry<Modest>(stop, turns); });
  threads.emplace_back([&] { others = hurry<Other>(stop, turns); });
  std::this_thread::sleep_for(milliseconds(300));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  return {modest[0] + modest[1] + modest[2], others};
}

std::shared_ptr<Model> adapted_model() {
  const std::string folder = REALM_GOLDEN_DIR "/arch/llama/";
  auto model = Model::load(gguf::GgufFile::open(folder + "model-f32.gguf"), {});
  for (const char* name : {"all-linear", "dora"})
    model->adapters().load(name, lora::open_adapter(folder + "adapters/" + name), true);
  return model;
}

}  // namespace

TEST(one_at_a_time_has_the_backend) {
  BackendTurns turns;
  int64_t counter = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < 500; ++n) {
        if (i % 2) {
          const std::lock_guard lock(turns);
          ++counter;
        } else {
          const ModestTurn turn(turns, nullptr);
          ++counter;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter, 2000);
}

TEST(the_modest_take_all_of_an_idle_backend) {
  BackendTurns turns;
  Clock::duration least = std::chrono::hours(1);
  for (int i = 0; i < 20; ++i) {  // on a machine that others use
    const auto asked = Clock::now();
    const Modest turn(turns);
    least = std::min(least, Clock::now() - asked);
    spend(milliseconds(2));
  }
  EXPECT(least < milliseconds(1));
}

TEST(however_many_hurry_the_others_have_most_of_a_busy_backend) {
  bool is_fair = false;
  for (int i = 0; i < 5 && !is_fair; ++i) {  // a machine that others use may keep our threads away
    const auto [together, others] = shares_of_a_busy_backend();
    // Three to one, but for the turns at both ends.
    is_fair = together > milliseconds(2) && others + milliseconds(20) > 2 * together;
  }
  EXPECT(is_fair);
}

TEST(who_waits_for_a_modest_turn_can_give_up) {
  BackendTurns turns;
  turns.lock();
  std::atomic<bool> cancel{false};
  std::thread waiting([&] { EXPECT_ERROR(kCancelled, { turns.lock_modestly(&cancel); }); });
  cancel = true;
  waiting.join();
  turns.unlock();
  const ModestTurn turn(turns, nullptr);  // nobody is left in the queue before it
}

TEST(the_adapters_of_a_request_are_found_while_others_compute) {
  const auto model = adapted_model();
  const AdapterNames choices[] = {
      {{"all-linear", 1.0f}}, {{"all-linear", 0.5f}, {"all-linear", 2.0f}}, {{"dora", 1.0f}}};
  for (const AdapterNames& names : choices) {
    auto computing = model->lock_backend();
    auto found = std::async(std::launch::async, [&] { return model->adapters().set_of(names); });
    const bool is_at_once = found.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
    computing.unlock();
    EXPECT(is_at_once);
    EXPECT(found.get() != nullptr);
  }
}

TEST(threads_that_ask_for_the_same_adapters_at_once_share_one_set) {
  const auto model = adapted_model();
  for (int i = 0; i < 20; ++i) {
    const AdapterNames names = {{"all-linear", static_cast<float>(i)}, {"dora", 0.5f}};
    std::vector<std::future<std::shared_ptr<const AdapterSet>>> found;
    {
      const auto computing = model->lock_backend();  // they meet where DoRA's factors are laid down
      for (int n = 0; n < 4; ++n)
        found.push_back(
            std::async(std::launch::async, [&] { return model->adapters().set_of(names); }));
      std::this_thread::sleep_for(milliseconds(10));
    }
    const auto first = found.front().get();
    for (size_t n = 1; n < found.size(); ++n) EXPECT(found[n].get() == first);
    EXPECT(first->rescale(model->weights().layers.front().o.site).data != nullptr);
  }
}
