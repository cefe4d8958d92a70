// Random schedules: requests of every kind arrive, are cancelled and give way at moments that
// follow from a seed alone, in engines of every size; each answer is compared with the one the
// request gets alone, tokens, text and the bits of its logits. Events are counted in steps, not in
// time, so that a seed that fails fails again.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>

#include "cpp/engine_world.h"

namespace realm::test {

// REALM_SCHEDULES multiplies the number of schedules.
inline unsigned scaled(unsigned n) {
  const char* factor = std::getenv("REALM_SCHEDULES");
  return factor ? n * static_cast<unsigned>(std::atoi(factor)) : n;
}

// What a schedule is drawn from.
struct Setting {
  std::shared_ptr<Model> model;
  int64_t max_prompt = 40, max_tokens = 20, max_requests = 20;
  StepHook disturb{};  // of the engine alone, not of the reference
  // Speculates a request, given its plain answer.
  std::function<void(Random&, RequestOptions&, const Tokens& answer)> speculate{};
  DraftModel draft{};
  // What requests draw their adapters from; null is the base alone.
  std::vector<std::shared_ptr<const AdapterSet>> adapters{};
  std::string weights{};                // names the kernels' paths in Outcome::seen
  std::optional<double> temperature{};  // of every request; none: drawn
};

// What happened, to see that the schedules reach what they are meant to reach.
struct Outcome {
  int64_t n_answers = 0, n_wrong = 0, n_cancelled = 0;
  uint64_t n_preempted = 0, n_hits = 0, n_steps = 0, n_drafted = 0, n_accepted = 0;
  int64_t widest = 0, left_in_use = 0;
  // Steps under each choice, and kernel calls by path, of the engine alone.
  std::map<std::string, uint64_t> seen;

  void operator+=(const Outcome& other) {
    n_answers += other.n_answers;
    n_wrong += other.n_wrong;
    n_cancelled += other.n_cancelled;
    n_preempted += other.n_preempted;
    n_hits += other.n_hits;
    n_steps += other.n_steps;
    n_drafted += other.n_drafted;
    n_accepted += other.n_accepted;
    widest = std::max(widest, other.widest);
    left_in_use += other.left_in_use;
    for (const auto& [name, n] : other.seen) seen[name] += n;
  }
};

class RandomSchedule {
 public:
  RandomSchedule(const Setting& setting, unsigned seed)
      : setting_(setting),
        random_(seed),
        max_prompt_(setting.max_prompt),
        max_tokens_(setting.max_tokens) {
    draw_requests();
    draw_options();
    if (setting_.speculate) speculate();
    engine_ = std::make_unique<Engine>(
        setting_.model, options_,
        [this](const StepBatch& step, std::span<float> logits) {
          if (setting_.disturb) setting_.disturb(step, logits);
          on_step();
        },
        setting_.draft);
  }
  ~RandomSchedule() { engine_->close(); }  // before what its hook uses

  Outcome run() {
    const auto paths_before = setting_.model->backend().path_counts();
    fire(0);
    for (size_t i = 0; i < plans_.size(); ++i) {
      while (!request(i)) fire_next();
      if (!request(i)->wait_end(std::chrono::seconds(60))) ++outcome_.n_wrong;
    }
    const EngineStats stats = engine_->stats();
    note_seen(paths_before, stats.steps);
    for (size_t i = 0; i < plans_.size(); ++i) judge(i);
    outcome_.n_preempted = stats.preempted;
    outcome_.n_hits = stats.prefix_hits;
    outcome_.n_steps = stats.steps;
    outcome_.n_drafted = stats.draft_tokens;
    outcome_.n_accepted = stats.accepted_tokens;
    outcome_.left_in_use = stats.kv_blocks_used + stats.draft_blocks_used;
    for (size_t n = 0; n < stats.batch_widths.size(); ++n) {
      if (stats.batch_widths[n] > 0) outcome_.widest = static_cast<int64_t>(n);
    }
    return outcome_;
  }

 private:
  struct Plan {
    RequestOptions options;
    bool is_cancelled = false;
    std::shared_ptr<Request> request;
  };
  struct Event {
    size_t plan;
    bool is_cancel;
  };

  // Before any answer is judged, which uses the same backend.
  void note_seen(const std::vector<std::pair<std::string, uint64_t>>& before, uint64_t steps) {
    const std::map<std::string, uint64_t> counted(before.begin(), before.end());
    for (const auto& [path, n] : setting_.model->backend().path_counts()) {
      const auto earlier = counted.find(path);  // some backends name what has run alone
      outcome_.seen[concat(setting_.weights, " ", path)] +=
          n - (earlier == counted.end() ? 0 : earlier->second);
    }
    const auto& config = setting_.model->config();
    const bool is_f32 = options_.kv_type == KvType::kF32, is_f16 = options_.kv_type == KvType::kF16;
    outcome_.seen[is_f32 ? "kv f32" : is_f16 ? "kv f16" : "kv q8_0"] += steps;
    outcome_.seen[concat("budget ", options_.max_step_tokens)] += steps;
    outcome_.seen[concat("sequences ", options_.max_sequences)] += steps;
    outcome_.seen[options_.kv_bytes ? "starving" : "generous"] += steps;
    outcome_.seen[options_.prefix_cache ? "prefix cache" : "no prefix cache"] += steps;
    if (config.n_experts > 0) outcome_.seen["experts"] += steps;
    if (config.window > 0) outcome_.seen["window"] += steps;
  }

  SamplingParams random_params() {
    SamplingParams params;
    params.max_tokens = between(random_, 1, max_tokens_);
    params.seed = random_();
    const double temperatures[] = {0.0, 0.5, 0.8, 1.5};
    params.temperature = temperatures[between(random_, 0, 3)];
    if (setting_.temperature) params.temperature = *setting_.temperature;
    params.top_k = between(random_, 0, 2) * 20;
    params.ignore_eos = between(random_, 0, 1);
    if (between(random_, 0, 3) == 0) {
      params.repetition_penalty = 1.3;
      params.frequency_penalty = 0.2;
    }
    if (between(random_, 0, 3) == 0) params.logprobs = 2;
    return params;
  }

  void draw_requests() {
    const auto& config = setting_.model->config();
    const Tokens shared = random_tokens(random_, setting_.max_prompt, config.n_vocab);
    const int64_t n = between(random_, 2, setting_.max_requests);
    // Long prompts and short answers, or answers that outgrow their blocks.
    if (between(random_, 0, 1)) {
      max_tokens_ += max_prompt_ - 8;
      max_prompt_ = 8;
    }
    for (int64_t i = 0; i < n; ++i) {
      Plan plan;
      plan.options.params = random_params();
      plan.options.prompt =
          random_tokens(random_, between(random_, 1, max_prompt_), config.n_vocab);
      if (between(random_, 0, 1)) {  // begins as others do
        const auto n_shared = between(random_, 0, std::ssize(plan.options.prompt));
        std::copy_n(shared.begin(), n_shared, plan.options.prompt.begin());
      }
      plan.options.priority = static_cast<int32_t>(between(random_, 0, 4) == 0);
      if (!setting_.adapters.empty()) {
        plan.options.adapter_set = setting_.adapters[static_cast<size_t>(
            between(random_, 0, std::ssize(setting_.adapters) - 1))];
      }
      plan.options.space[0] = static_cast<std::byte>(between(random_, 0, 4) == 0);
      const int64_t arrival = std::max<int64_t>(0, between(random_, -60, 30));
      events_.emplace(arrival, Event{plans_.size(), false});
      if (between(random_, 0, 5) == 0) {
        plan.is_cancelled = true;
        events_.emplace(arrival + between(random_, 0, 30), Event{plans_.size(), true});
      }
      plans_.push_back(std::move(plan));
    }
  }

  void draw_options() {
    options_.max_sequences = std::int64_t{1} << between(random_, 1, 5);
    if (between(random_, 0, 9) == 0) options_.max_sequences = 1;
    options_.max_step_tokens = std::int64_t{16} << between(random_, 0, 5);
    const KvType types[] = {KvType::kF32, KvType::kF16, KvType::kQ8_0};
    options_.kv_type = types[between(random_, 0, 2)];
    options_.prefix_cache = between(random_, 0, 2) > 0;
    options_.record_logits_hash = true;
    options_.poison_blocks = true;
    if (between(random_, 0, 2) > 0) options_.kv_bytes = starving_bytes();
    if (setting_.draft.model && between(random_, 0, 1)) options_.draft_kv_bytes = starving_bytes();
  }

  void speculate() {
    for (Plan& plan : plans_) {
      if (between(random_, 0, 3) == 0) continue;
      const Answer answer = alone(setting_.model, plan.options, options_.kv_type);
      setting_.speculate(random_, plan.options, answer.tokens);
    }
  }

  // The largest request fits, and little more.
  uint64_t starving_bytes() {
    const auto& config = setting_.model->config();
    Backend& backend = setting_.model->backend();
    int64_t longest = 0;
    for (const Plan& plan : plans_) {
      const auto n_prompt = std::ssize(plan.options.prompt);
      longest =
          std::max(longest, planned_length(n_prompt, plan.options.params.max_tokens, config.n_ctx));
    }
    const auto page = KvStorage::page_bytes(backend, config, options_.kv_type);
    const int64_t pages = (longest + backend.kv_page_tokens() - 1) / backend.kv_page_tokens();
    return static_cast<uint64_t>(pages + between(random_, 0, pages)) * (page.global + page.window);
  }

  void on_step() {
    ++n_steps_;
    fire(n_steps_);
  }

  // Everything that is due at `step`.
  void fire(int64_t step) {
    const std::lock_guard lock(mutex_);
    while (!events_.empty() && events_.begin()->first <= step) fire_first();
  }

  void fire_next() {
    const std::lock_guard lock(mutex_);
    if (!events_.empty()) fire_first();
  }

  void fire_first() {
    const Event event = events_.begin()->second;
    events_.erase(events_.begin());
    Plan& plan = plans_[event.plan];
    if (!event.is_cancel) {
      plan.request = engine_->submit(plan.options);
    } else {
      plan.request->cancel();
    }
  }

  std::shared_ptr<Request> request(size_t index) {
    const std::lock_guard lock(mutex_);
    return plans_[index].request;
  }

  void judge(size_t index) {
    const Plan& plan = plans_[index];
    const Answer got = answer_of(*plan.request);
    const Answer expected = alone(setting_.model, plan.options, options_.kv_type);
    ++outcome_.n_answers;
    if (got.reason != FinishReason::kCancelled) {
      outcome_.n_wrong += !(got == expected);
      return;
    }
    ++outcome_.n_cancelled;
    const bool is_beginning =
        got.tokens.size() <= expected.tokens.size() &&
        std::ranges::equal(got.tokens, std::span(expected.tokens).first(got.tokens.size()));
    outcome_.n_wrong += !plan.is_cancelled || !is_beginning;
  }

  const Setting& setting_;
  Random random_;
  int64_t max_prompt_, max_tokens_;
  EngineOptions options_;
  std::mutex mutex_;
  std::multimap<int64_t, Event> events_;  // by the step at which they are due
  std::vector<Plan> plans_;
  int64_t n_steps_ = 0;
  Outcome outcome_;
  std::unique_ptr<Engine> engine_;
};

// Runs the schedules of `seeds` and reports each that has a wrong answer.
inline Outcome run_schedules(const std::string& name, const Setting& setting, unsigned first_seed,
                             unsigned n_seeds) {
  Outcome all;
  for (unsigned seed = first_seed; seed < first_seed + n_seeds; ++seed) {
    const Outcome one = RandomSchedule(setting, seed).run();
    if (one.n_wrong > 0 || one.left_in_use > 0) {
      report_failure(__FILE__, __LINE__,
                     concat(name, ", seed ", seed, ": ", one.n_wrong, " of ", one.n_answers,
                            " answers are wrong, ", one.left_in_use, " blocks left in use"));
    }
    all += one;
  }
  return all;
}

}  // namespace realm::test
