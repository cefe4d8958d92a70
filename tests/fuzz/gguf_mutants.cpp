// Loads mutants of GGUF files and proves that none of them does harm: no crash, no hang, no memory
// beyond what the file justifies, no error but a clear kFormat, the verdict that the mutant calls
// for; and that what loads is consistent, decodes in full and survives a rewrite.
//
//   gguf_mutants [--base FILE] [--count N] [--seed S]   our own mutants, and every truncation of a
//   small base gguf_mutants --dir DIR                              mutants and manifest.jsonl of
//   tools/gguf_mutate.py
//   --verbose                                           names each mutant before it runs
//
// Prints a summary; the exit status is 0 when nothing was violated.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <string>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "fuzz/allocation_meter.h"
#include "fuzz/manifest.h"
#include "fuzz/mutate.h"
#include "gguf/reader.h"
#include "gguf/writer.h"
#include "quant/formats.h"

namespace realm::test {
namespace {

constexpr double kLongestMs = 2000;
constexpr uint64_t kMemoryFactor = 4;
constexpr uint64_t kMemorySlack = uint64_t{64} << 20;
constexpr uint64_t kDecodeValues = uint64_t{1} << 20;  // held at once by this program
constexpr size_t kLongestMessage = 1000;

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail(ErrorCode::kIo, "cannot read ", quoted(path, 256));
  return {std::istreambuf_iterator<char>(in), {}};
}

double now_ms() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double, std::milli>(Clock::now().time_since_epoch()).count();
}

// What came of one attempt to load a mutant.
struct Outcome {
  std::string refusal;  // empty: it loaded
  std::string violation;
  double ms = 0;
  uint64_t peak_bytes = 0;
};

// ---- checks of a file that loaded
// -----------------------------------------------------------------------

// The container's promises about places, worked out again: inside, aligned, back to back.
std::string misplaced(const gguf::GgufFile& file) {
  std::vector<const gguf::TensorInfo*> by_offset;
  for (const gguf::TensorInfo& info : file.tensors()) {
    const uint64_t size = file.file_bytes();
    const bool inside = info.offset <= size && info.bytes <= size - info.offset;
    if (!inside) return concat("tensor ", quoted(info.name), " leaves the file");
    if (info.offset % file.alignment() != 0) return concat(quoted(info.name), " is not aligned");
    if (file.find(info.name) != &info) return concat(quoted(info.name), " is not found");
    by_offset.push_back(&info);
  }
  std::ranges::sort(by_offset, {}, &gguf::TensorInfo::offset);
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const uint64_t end = by_offset[i - 1]->offset + by_offset[i - 1]->bytes;
    const uint64_t begin = by_offset[i]->offset;
    const bool tight = begin >= end && begin - end < file.alignment();
    if (!tight) return concat(quoted(by_offset[i]->name), " does not follow its neighbour");
  }
  return {};
}

void decode_all(const gguf::GgufFile& file) {
  for (const gguf::TensorInfo& info : file.tensors()) {
    const uint64_t row = info.shape.row_elements();
    const uint64_t step = std::max<uint64_t>(1, kDecodeValues / row);
    std::vector<float> values(std::min(step, info.shape.rows()) * row);
    for (uint64_t first = 0; first < info.shape.rows(); first += step) {
      file.read_rows_f32(info, first, std::min(step, info.shape.rows() - first), values.data());
    }
  }
}

std::string changed_by_rewriting(const gguf::GgufFile& file) {
  std::vector<gguf::TensorData> tensors;
  for (const gguf::TensorInfo& info : file.tensors()) {
    tensors.push_back({{info.name, info.dtype, info.shape}, file.view(info)});
  }
  const auto bytes = gguf::gguf_bytes(file.metadata(), tensors);
  const auto again = gguf::GgufFile::from_bytes(bytes, nullptr);
  if (!(again->metadata() == file.metadata())) return "rewriting changed the metadata";
  if (again->tensors().size() != tensors.size()) return "rewriting changed the number of tensors";
  for (size_t i = 0; i < tensors.size(); ++i) {
    const gguf::TensorInfo& info = again->tensors()[i];
    const gguf::TensorSpec& spec = tensors[i].spec;
    const bool same =
        info.name == spec.name && info.dtype == spec.dtype && info.shape == spec.shape;
    if (!same || !std::ranges::equal(again->view(info), tensors[i].bytes)) {
      return concat("rewriting changed tensor ", quoted(spec.name));
    }
  }
  return {};
}

std::string defect_of_message(const std::string& message) {
  if (message.empty()) return "the error has no message";
  if (message.size() > kLongestMessage) return concat("a message of ", message.size(), " bytes");
  const bool plain = std::ranges::all_of(message, [](char c) { return c >= 0x20 && c <= 0x7e; });
  return plain ? "" : "the message has unprintable bytes";
}

// ---- one mutant
// -----------------------------------------------------------------------------------------

template <class Open>
Outcome attempt(uint64_t file_bytes, const Open& open) {
  Outcome outcome;
  const double start = now_ms();
  const AllocationMeter meter;
  try {
    const auto file = open();
    outcome.violation = misplaced(*file);
    decode_all(*file);
    if (outcome.violation.empty()) outcome.violation = changed_by_rewriting(*file);
  } catch (const Error& error) {
    outcome.refusal = error.what();
    outcome.violation = defect_of_message(outcome.refusal);
    if (error.code() != ErrorCode::kFormat) {
      outcome.violation = concat("error code ", static_cast<int>(error.code()), ": ", error.what());
    }
  } catch (const std::exception& error) {
    outcome.violation = concat("a foreign exception: ", error.what());
  }
  outcome.peak_bytes = meter.peak_bytes();
  outcome.ms = now_ms() - start;
  if (outcome.ms > kLongestMs) outcome.violation = concat("took ", outcome.ms, " ms");
  if (outcome.peak_bytes > kMemoryFactor * file_bytes + kMemorySlack) {
    outcome.violation = concat("took ", outcome.peak_bytes, " bytes for a file of ", file_bytes);
  }
  return outcome;
}

// A refusal without the label of the part, which differs between a path and a buffer.
std::string without_label(const std::string& refusal) {
  const size_t end = refusal.find(": ");
  return end == std::string::npos ? refusal : refusal.substr(end);
}

template <class... Parts>
void print(const Parts&... parts) {
  std::printf("%s\n", concat(parts...).c_str());
}

template <class... Columns>
void print_row(const std::string& name, const Columns&... columns) {
  std::printf("%-16s", name.c_str());
  (std::printf(" %8s", concat(columns).c_str()), ...);
  std::printf("\n");
}

class Campaign {
 public:
  explicit Campaign(bool verbose) : verbose_(verbose) {}

  // Loads the bytes in place and, given a path, the file; both must come to the same.
  void run(const Mutant& mutant, const std::string& path) {
    if (verbose_) std::fprintf(stderr, "%s: %s\n", mutant.category.c_str(), mutant.what.c_str());
    const auto bytes = as_bytes(mutant.bytes);
    const auto in_memory =
        attempt(bytes.size(), [&] { return gguf::GgufFile::from_bytes(bytes, nullptr); });
    const auto on_disk = attempt(bytes.size(), [&] { return gguf::GgufFile::open(path); });
    note(mutant, in_memory);
    note(mutant, on_disk);
    const bool split = contains_split(in_memory.refusal) || contains_split(on_disk.refusal);
    if (!split && without_label(in_memory.refusal) != without_label(on_disk.refusal)) {
      violation(mutant, concat("in memory: ", in_memory.refusal, "; on disk: ", on_disk.refusal));
    }
    Tally& tally = tallies_[mutant.category];
    ++tally.n;
    const bool loaded = on_disk.refusal.empty();
    ++(loaded ? tally.loaded : tally.refused);
    const bool excused = loaded && mutant.concern != nullptr;
    if (excused) ++excused_[concat(mutant.category, ": ", mutant.concern)];
    tally.owed += mutant.expect != Verdict::kEither && !excused;
    if (loaded && mutant.expect == Verdict::kReject && !excused) {
      violation(mutant, "loaded, must be refused");
    }
    if (!loaded && mutant.expect == Verdict::kLoad) {
      violation(mutant, concat("refused, must load: ", on_disk.refusal));
    }
  }

  int report() const {
    Tally all;
    print_row("category", "mutants", "loaded", "refused", "owed");
    for (const auto& [category, tally] : tallies_) {
      print_row(category, tally.n, tally.loaded, tally.refused, tally.owed);
      all.n += tally.n;
      all.owed += tally.owed;
    }
    for (const auto& [reason, count] : excused_) {
      print("not the container's to refuse: ", count, " x ", reason);
    }
    print(all.n, " mutants, ", all.owed, " with a verdict owed, ", n_violations_,
          " violations; slowest ", slowest_ms_, " ms, most memory ", human_bytes(peak_bytes_));
    return n_violations_ == 0 && all.n > 0 ? 0 : 1;
  }

 private:
  struct Tally {
    uint64_t n = 0, loaded = 0, refused = 0, owed = 0;
  };

  static bool contains_split(const std::string& refusal) {
    return refusal.find("split") != std::string::npos;
  }

  void note(const Mutant& mutant, const Outcome& outcome) {
    slowest_ms_ = std::max(slowest_ms_, outcome.ms);
    peak_bytes_ = std::max(peak_bytes_, outcome.peak_bytes);
    if (!outcome.violation.empty()) violation(mutant, outcome.violation);
  }

  void violation(const Mutant& mutant, const std::string& what) {
    constexpr uint64_t kMostPrinted = 50;
    if (++n_violations_ > kMostPrinted) return;
    std::fprintf(stderr, "VIOLATION %s, %s: %s\n", mutant.category.c_str(), mutant.what.c_str(),
                 what.c_str());
  }

  bool verbose_;
  std::map<std::string, Tally> tallies_;
  std::map<std::string, uint64_t> excused_;
  uint64_t n_violations_ = 0;
  double slowest_ms_ = 0;
  uint64_t peak_bytes_ = 0;
};

// ---- campaigns
// ------------------------------------------------------------------------------------------

// The mutant as a file that goes away with its scope.
class MutantFile {
 public:
  explicit MutantFile(const Mutant& mutant) : path_(concat("gguf_mutants.", ::getpid(), ".gguf")) {
    std::ofstream out(path_, std::ios::binary);
    out.write(mutant.bytes.data(), static_cast<std::streamsize>(mutant.bytes.size()));
  }
  ~MutantFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void run_ours(Campaign& campaign, const std::string& base, uint64_t count, uint64_t seed) {
  const Mutator mutator(slurp(base), seed);
  const auto run = [&](const Mutant& mutant) { campaign.run(mutant, MutantFile(mutant).path()); };
  constexpr uint64_t kSmallBase = 1 << 14;
  for (size_t cut = 0; cut < mutator.base().size() && mutator.base().size() <= kSmallBase; ++cut) {
    run({"every cut", concat("at ", cut), Verdict::kReject, mutator.base().substr(0, cut)});
  }
  for (size_t i = 0; i < mutator.n_structured(); ++i) run(mutator.structured(i));
  for (uint64_t i = 0; i < count; ++i) run(mutator.random(i));
}

void run_directory(Campaign& campaign, const std::string& dir) {
  for (const ManifestEntry& entry : read_manifest(slurp(dir + "/manifest.jsonl"))) {
    const std::string path = dir + "/" + entry.file;
    const Mutant mutant{entry.category, concat(entry.file, " ", quoted(entry.what, 160)),
                        entry.expect, slurp(path), model_concern(entry)};
    campaign.run(mutant, path);
  }
}

}  // namespace
}  // namespace realm::test

int main(int argc, char** argv) {
  using namespace realm::test;
  std::map<std::string, std::string> options = {{"--base", REALM_GOLDEN_DIR "/gguf/tiny.gguf"},
                                                {"--count", "3000"},
                                                {"--seed", "1"},
                                                {"--dir", ""},
                                                {"--verbose", ""}};
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (!options.contains(name)) {
      std::fprintf(stderr, "unknown option %s\n", argv[i]);
      return 2;
    }
    options[name] = name == "--verbose" ? "yes" : i + 1 < argc ? argv[++i] : "";
  }
  Campaign campaign(!options["--verbose"].empty());
  if (options["--dir"].empty()) {
    run_ours(campaign, options["--base"], std::stoull(options["--count"]),
             std::stoull(options["--seed"]));
  } else {
    run_directory(campaign, options["--dir"]);
  }
  return campaign.report();
}
