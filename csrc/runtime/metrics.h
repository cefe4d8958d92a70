// Figures of a runtime as families of samples, and the text form that Prometheus reads (0.0.4). The
// families are the one source: every face renders these. Names and labels are in docs/tenancy.md.
//
// Plain data, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/engine_stats.h"
#include "engine/flow_stats.h"

namespace realm {

enum class MetricType { kCounter, kGauge, kHistogram };

const char* name_of(MetricType type);

// Bucket counts are of values up to a bound, cumulative; the last bucket, +Inf, is `count`.
struct MetricHistogram {
  std::vector<std::pair<double, uint64_t>> buckets;
  uint64_t count = 0;
  double sum = 0;
};

struct MetricSample {
  std::vector<std::pair<std::string, std::string>> labels;
  std::variant<double, MetricHistogram> value;
};

struct MetricFamily {
  std::string name, help;
  MetricType type = MetricType::kGauge;
  std::vector<MetricSample> samples;
};

// One model's engine, or one tenant on a model.
struct ModelFigures {
  std::string model_id;
  EngineStats stats;
  uint64_t weight_bytes = 0, adapter_bytes = 0;
};
struct TenantFigures {
  std::string tenant_id, model_id;
  FlowStats stats;
};

std::vector<MetricFamily> metric_families(const std::vector<ModelFigures>& models,
                                          const std::vector<TenantFigures>& tenants);

std::string prometheus_text(const std::vector<MetricFamily>& families);

}  // namespace realm
