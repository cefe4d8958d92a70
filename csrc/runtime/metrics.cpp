#include "runtime/metrics.h"

#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

#include "base/text.h"

namespace realm {

namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;

// ---- from figures to families

MetricHistogram histogram_of(const LatencyHistogram& latencies) {
  MetricHistogram histogram{{}, latencies.count(), latencies.sum()};
  for (int octave = 18; octave <= 37; ++octave) {  // 0.26 ms to 137 s
    histogram.buckets.emplace_back(std::ldexp(1e-9, octave), latencies.count_below(octave));
  }
  return histogram;
}

// Builds families one after another; samples go to the last.
class Families {
 public:
  void begin(std::string_view name, MetricType type, std::string_view help) {
    families_.push_back({concat("realm_", name), std::string(help), type, {}});
  }
  template <class Number>
  void add(Labels labels, Number value) {
    families_.back().samples.push_back({std::move(labels), static_cast<double>(value)});
  }
  void add(Labels labels, const LatencyHistogram& latencies) {
    families_.back().samples.push_back({std::move(labels), histogram_of(latencies)});
  }
  std::vector<MetricFamily> take() { return std::move(families_); }

 private:
  std::vector<MetricFamily> families_;
};

Labels labels_of(const ModelFigures& model) {
  return {{"model", model.model_id}};
}

Labels labels_of(const TenantFigures& tenant) {
  return {{"tenant", tenant.tenant_id}, {"model", tenant.model_id}};
}

Labels with(Labels labels, const char* name, std::string_view value) {
  labels.emplace_back(name, value);
  return labels;
}

constexpr const char* kErrorNames[] = {
    "internal", "invalid_request", "format", "io",        "out_of_memory",
    "adapter",  "quota_exceeded",  "device", "cancelled", "forked"};
static_assert(std::size(kErrorNames) == std::tuple_size_v<ErrorCounts>);

// A family with a sample of each of `all`; value(figures) is the number or the histogram.
template <class Figures, class Value>
void family(Families& families, const std::vector<Figures>& all, std::string_view name,
            MetricType type, std::string_view help, Value value) {
  families.begin(name, type, help);
  for (const Figures& one : all) families.add(labels_of(one), value(one));
}

template <class Figures>
void errors(Families& families, const std::vector<Figures>& all, std::string_view name) {
  families.begin(name, MetricType::kCounter, "Requests that failed, by error code.");
  for (const Figures& one : all) {
    for (size_t i = 0; i < one.stats.errors.size(); ++i) {
      families.add(with(labels_of(one), "code", kErrorNames[i]), one.stats.errors[i]);
    }
  }
}

double ratio(uint64_t part, uint64_t all) {
  return all == 0 ? 0 : static_cast<double>(part) / static_cast<double>(all);
}

constexpr auto kCounter = MetricType::kCounter;
constexpr auto kGauge = MetricType::kGauge;
constexpr auto kHistogram = MetricType::kHistogram;

using Models = std::vector<ModelFigures>;
using M = ModelFigures;
using T = TenantFigures;

void add_memory(Families& out, const Models& models) {
  family(out, models, "model_weight_bytes", kGauge, "Memory of a model's weights.",
         [](const M& m) { return m.weight_bytes; });
  family(out, models, "model_adapter_bytes", kGauge, "Memory of a model's adapters.",
         [](const M& m) { return m.adapter_bytes; });
  out.begin("kv_blocks", kGauge, "Blocks of the cache: in use, kept for prompts, or free.");
  for (const M& m : models) {
    const EngineStats& s = m.stats;
    out.add(with(labels_of(m), "state", "used"), s.kv_blocks_used);
    out.add(with(labels_of(m), "state", "cached"), s.kv_blocks_cached);
    out.add(with(labels_of(m), "state", "free"),
            s.kv_blocks_total - s.kv_blocks_used - s.kv_blocks_cached);
  }
}

void add_requests(Families& out, const Models& models) {
  family(out, models, "requests_total", kCounter, "Requests that were accepted.",
         [](const M& m) { return m.stats.total_requests; });
  family(out, models, "requests_refused_total", kCounter, "Requests above a limit.",
         [](const M& m) { return m.stats.refused; });
  family(out, models, "requests_cancelled_total", kCounter, "Requests that were cancelled.",
         [](const M& m) { return m.stats.cancelled; });
  errors(out, models, "request_errors_total");
  family(out, models, "requests_running", kGauge, "Requests that run now.",
         [](const M& m) { return m.stats.running; });
  family(out, models, "requests_waiting", kGauge, "Requests that wait now.",
         [](const M& m) { return m.stats.waiting; });
  family(out, models, "preemptions_total", kCounter, "Times that a request gave way.",
         [](const M& m) { return m.stats.preempted; });
}

void add_times(Families& out, const Models& models) {
  family(out, models, "queue_wait_seconds", kHistogram, "From submission to the first step.",
         [](const M& m) { return m.stats.queue_wait; });
  family(out, models, "time_to_first_token_seconds", kHistogram,
         "From submission to the first token.",
         [](const M& m) { return m.stats.time_to_first_token; });
  family(out, models, "inter_token_latency_seconds", kHistogram, "From token to token.",
         [](const M& m) { return m.stats.inter_token_latency; });
  family(out, models, "steps_total", kCounter, "Forwards.",
         [](const M& m) { return m.stats.steps; });
  family(out, models, "step_seconds_total", kCounter, "Time spent in forwards.",
         [](const M& m) { return m.stats.step_seconds; });
}

void add_tokens(Families& out, const Models& models) {
  family(out, models, "prompt_tokens_computed_total", kCounter,
         "Tokens of prompts that were computed, again after preemptions.",
         [](const M& m) { return m.stats.prompt_tokens; });
  family(out, models, "generated_tokens_total", kCounter, "Tokens of answers.",
         [](const M& m) { return m.stats.tokens_generated; });
  family(out, models, "generated_tokens_per_second", kGauge, "Over the last ten seconds.",
         [](const M& m) { return m.stats.tokens_per_second; });
  family(out, models, "prefix_hits_total", kCounter,
         "Requests that found some of their prompt in the cache.",
         [](const M& m) { return m.stats.prefix_hits; });
  family(out, models, "prefix_tokens_total", kCounter, "Tokens found in the cache.",
         [](const M& m) { return m.stats.prefix_tokens; });
  family(out, models, "prefix_hit_ratio", kGauge, "Hits over requests.",
         [](const M& m) { return ratio(m.stats.prefix_hits, m.stats.total_requests); });
}

void add_speculation(Families& out, const Models& models) {
  family(out, models, "draft_tokens_total", kCounter, "Guesses that were verified.",
         [](const M& m) { return m.stats.draft_tokens; });
  family(out, models, "draft_tokens_accepted_total", kCounter, "Guesses that stand.",
         [](const M& m) { return m.stats.accepted_tokens; });
  family(out, models, "draft_verifications_total", kCounter, "Forwards that judged guesses.",
         [](const M& m) { return m.stats.verifications; });
  family(out, models, "draft_seconds_total", kCounter, "Time spent in drafters.",
         [](const M& m) { return m.stats.draft_seconds; });
}

void add_tenants(Families& out, const std::vector<TenantFigures>& all) {
  family(out, all, "tenant_requests_total", kCounter, "Requests that were accepted.",
         [](const T& t) { return t.stats.total_requests; });
  family(out, all, "tenant_requests_refused_total", kCounter, "Requests above the quota.",
         [](const T& t) { return t.stats.refused; });
  family(out, all, "tenant_requests_cancelled_total", kCounter, "Requests that were cancelled.",
         [](const T& t) { return t.stats.cancelled; });
  errors(out, all, "tenant_request_errors_total");
  family(out, all, "tenant_requests_running", kGauge, "Requests that run now.",
         [](const T& t) { return t.stats.running; });
  family(out, all, "tenant_requests_waiting", kGauge, "Requests that wait now.",
         [](const T& t) { return t.stats.active_requests - t.stats.running; });
  family(out, all, "tenant_preemptions_total", kCounter, "Times that a request gave way.",
         [](const T& t) { return t.stats.preempted; });
  family(out, all, "tenant_kv_blocks", kGauge, "Blocks of the cache that running requests hold.",
         [](const T& t) { return t.stats.kv_blocks_used; });
  family(out, all, "tenant_prompt_tokens_total", kCounter, "Tokens of prompts.",
         [](const T& t) { return t.stats.prompt_tokens; });
  family(out, all, "tenant_cached_tokens_total", kCounter, "Tokens found in the cache.",
         [](const T& t) { return t.stats.prefix_tokens; });
  family(out, all, "tenant_generated_tokens_total", kCounter, "Tokens of answers.",
         [](const T& t) { return t.stats.tokens_generated; });
  family(out, all, "tenant_computed_tokens_total", kCounter,
         "Tokens through the model, which fair shares are counted in.",
         [](const T& t) { return t.stats.rows_computed; });
  family(out, all, "tenant_tokens_last_minute", kGauge, "As tokens_per_minute counts them.",
         [](const T& t) { return t.stats.tokens_last_minute; });
}

// ---- the text form

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else {
      if (c == '\\' || c == '"') out += '\\';
      out += c;
    }
  }
  return out;
}

void write_line(std::string& out, const std::string& name, const Labels& labels, double value) {
  out += name;
  const char* before = "{";
  for (const auto& [label, text] : labels) {
    out += concat(before, label, "=\"", escaped(text), "\"");
    before = ",";
  }
  out += concat(labels.empty() ? "" : "}", " ", number(value), "\n");
}

void write(std::string& out, const std::string& name, const Labels& labels,
           const MetricHistogram& histogram) {
  for (const auto& [bound, count] : histogram.buckets) {
    write_line(out, name + "_bucket", with(labels, "le", number(bound)),
               static_cast<double>(count));
  }
  const auto count = static_cast<double>(histogram.count);
  write_line(out, name + "_bucket", with(labels, "le", "+Inf"), count);
  write_line(out, name + "_sum", labels, histogram.sum);
  write_line(out, name + "_count", labels, count);
}

}  // namespace

const char* name_of(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
  }
  return "";
}

std::vector<MetricFamily> metric_families(const std::vector<ModelFigures>& models,
                                          const std::vector<TenantFigures>& tenants) {
  Families out;
  add_memory(out, models);
  add_requests(out, models);
  add_times(out, models);
  add_tokens(out, models);
  add_speculation(out, models);
  add_tenants(out, tenants);
  return out.take();
}

std::string prometheus_text(const std::vector<MetricFamily>& families) {
  std::string out;
  for (const MetricFamily& family : families) {
    out += concat("# HELP ", family.name, " ", family.help, "\n# TYPE ", family.name, " ",
                  name_of(family.type), "\n");
    for (const auto& [labels, value] : family.samples) {
      if (const double* plain = std::get_if<double>(&value)) {
        write_line(out, family.name, labels, *plain);
      } else {
        write(out, family.name, labels, std::get<MetricHistogram>(value));
      }
    }
  }
  return out;
}

}  // namespace realm
