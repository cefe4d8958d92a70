// The wrappers of csrc/cuda/device/ against golden/cuda/wrappers.txt: what each gives for random
// fragments. Run on the emulated device and, in a build for a card, on the card: so the two are
// held to each other. REALM_RECORD=FILE writes the file anew from the device that runs.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <sstream>

#include "base/error.h"
#include "base/half.h"
#include "cpp/cuda_wrapper_kernels.h"
#include "cpp/harness.h"

using namespace realm;

namespace {

using WordList = std::vector<uint32_t>;

constexpr int kRounds = 2;
constexpr char kGolden[] = REALM_GOLDEN_DIR "/cuda/wrappers.txt";

uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// mt19937 gives the same words everywhere, distributions of the library do not.
uint32_t random_word(std::mt19937& random, test::Words kind) {
  const auto number = [&] { return static_cast<float>(random() >> 8) * 0x1p-22f - 2.0f; };
  const auto pair = [&](auto narrow) {
    const uint32_t low = narrow(number());
    return low | static_cast<uint32_t>(narrow(number())) << 16;
  };
  switch (kind) {
    case test::Words::kBits:
      return static_cast<uint32_t>(random());
    case test::Words::kHalfPairs:
      return pair(f32_to_f16);
    case test::Words::kBrainPairs:
      return pair(f32_to_bf16);
    case test::Words::kFloats:
      return bits_of(number());
  }
  return 0;
}

class DeviceWords {
 public:
  explicit DeviceWords(const WordList& words) : bytes_(words.size() * sizeof(uint32_t)) {
    at_ = static_cast<uint32_t*>(cuda::allocate_memory(bytes_));
    if (at_) cuda::copy_to_device(at_, words.data(), bytes_, nullptr);
  }
  ~DeviceWords() { cuda::free_memory(at_); }
  DeviceWords(const DeviceWords&) = delete;
  DeviceWords& operator=(const DeviceWords&) = delete;

  uint32_t* at() const { return at_; }
  WordList read() const {
    WordList words(bytes_ / sizeof(uint32_t));
    cuda::copy_to_host(words.data(), at_, bytes_, nullptr);
    cuda::await_stream(nullptr);
    return words;
  }

 private:
  const size_t bytes_;
  uint32_t* at_;
};

WordList run(const test::Wrapper& wrapper) {
  std::mt19937 random(41);
  WordList in;
  for (int lane = 0; lane < kRounds * test::kLanes; ++lane) {
    for (int i = 0; i < test::kWordsIn; ++i)
      in.push_back(random_word(random, i < 4 ? wrapper.sums : wrapper.in));
  }
  const DeviceWords from(in);
  const DeviceWords to(WordList(kRounds * test::kLanes * test::kWordsOut, 0xffffffffu));
  wrapper.launch(from.at(), to.at(), kRounds, nullptr);
  return to.read();
}

struct Golden {
  std::string recorded_on;
  std::map<std::string, WordList> words;
};

void write_golden(const char* path, const std::string& device) {
  std::ofstream file(path);
  const bool emulated = test::contains(device, "emulated");
  file << "recorded on: " << device << (emulated ? "; not yet on hardware" : "") << "\n";
  for (const test::Wrapper& wrapper : test::wrappers()) {
    file << "\n" << wrapper.name << std::hex;
    const WordList words = run(wrapper);
    for (size_t i = 0; i < words.size(); ++i) file << (i % 8 == 0 ? '\n' : ' ') << words[i];
    file << std::dec << "\n";
  }
  if (!file.flush()) fail(ErrorCode::kIo, "cannot write ", path);
}

Golden read_golden() {
  std::ifstream file(kGolden);
  Golden golden;
  std::getline(file, golden.recorded_on);
  WordList* words = nullptr;
  for (std::string line; std::getline(file, line);) {
    std::istringstream text(line);
    if (line.find('_') != std::string::npos || line == "round") {
      words = &golden.words[line];
    } else if (words) {
      for (uint32_t word; text >> std::hex >> word;) words->push_back(word);
    }
  }
  return golden;
}

bool is_near(uint32_t a, uint32_t b, double tolerance) {
  if (tolerance == 0) return a == b;
  float x, y;
  std::memcpy(&x, &a, sizeof x);
  std::memcpy(&y, &b, sizeof y);
  return std::abs(double{x} - double{y}) <= tolerance;
}

}  // namespace

TEST(every_wrapper_gives_what_was_recorded) {
  std::string reason;
  EXPECT(cuda::count_devices(reason) > 0);
  cuda::select_device(0);
  if (const char* path = std::getenv("REALM_RECORD"))
    write_golden(path, cuda::describe_device(0).name);
  const Golden golden = read_golden();
  EXPECT_EQ(golden.words.size(), test::wrappers().size());
  for (const test::Wrapper& wrapper : test::wrappers()) {
    const auto expected = golden.words.find(wrapper.name);
    const WordList found = run(wrapper);
    if (expected == golden.words.end() || expected->second.size() != found.size()) {
      test::report_failure(__FILE__, __LINE__, concat(wrapper.name, " is not in the file"));
      continue;
    }
    size_t n_wrong = 0, first = 0;
    for (size_t i = found.size(); i-- > 0;) {
      if (is_near(found[i], expected->second[i], wrapper.tolerance)) continue;
      ++n_wrong;
      first = i;
    }
    if (n_wrong > 0) {
      test::report_failure(
          __FILE__, __LINE__,
          concat(wrapper.name, ": ", n_wrong, " of ", found.size(), " words differ from those ",
                 golden.recorded_on, "; the first is word ", first % test::kWordsOut, " of lane ",
                 first / test::kWordsOut % test::kLanes, ": ", found[first], " for ",
                 expected->second[first]));
    }
  }
}

TEST(a_word_that_is_another_is_seen) {
  EXPECT(!is_near(3, 4, 0) && is_near(3, 3, 0));
  EXPECT(is_near(bits_of(5.0f), bits_of(5.000001f), 1e-5));
  EXPECT(!is_near(bits_of(5.0f), bits_of(5.001f), 1e-5));
  EXPECT(!is_near(bits_of(5.0f), bits_of(NAN), 1e-5));
}
