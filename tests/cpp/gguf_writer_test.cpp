// Writing: what is written reads back as it was, files of the reference tools come out byte for
// byte, and a failure leaves what was there.
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sys/resource.h>

#include "cpp/harness.h"
#include "fuzz/raw_gguf.h"
#include "gguf/reader.h"
#include "gguf/writer.h"

using namespace realm;
using namespace realm::gguf;
using namespace realm::test;
namespace fs = std::filesystem;

namespace {

const std::string kTiny = REALM_GOLDEN_DIR "/gguf/tiny.gguf";

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<TensorData> tensors_of(const GgufFile& file) {
  std::vector<TensorData> tensors;
  for (const TensorInfo& info : file.tensors()) {
    tensors.push_back({{info.name, info.dtype, info.shape}, file.view(info)});
  }
  return tensors;
}

std::vector<std::string> golden_files() {
  std::vector<std::string> paths;
  for (const auto& entry : fs::recursive_directory_iterator(REALM_GOLDEN_DIR)) {
    const std::string path = entry.path();
    const bool is_part = contains(path, "-of-") || contains(path, "tiny-big");
    if (path.ends_with(".gguf") && !is_part) paths.push_back(path);
  }
  return paths;
}

// A folder of its own for each test, so that what is left in it can be counted.
class Folder {
 public:
  explicit Folder(const char* name) : path_(concat("gguf_writer_test_", name)) {
    fs::remove_all(path_);
    fs::create_directory(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string file(const char* name) const { return path_ + "/" + name; }
  long n_files() const { return std::distance(fs::directory_iterator(path_), {}); }

 private:
  std::string path_;
};

Metadata one_key() {
  Metadata metadata;
  metadata.set("general.architecture", "test");
  return metadata;
}

}  // namespace

TEST(files_of_the_reference_tools_come_out_byte_for_byte) {
  const Folder folder("golden");
  size_t n = 0;
  for (const std::string& path : golden_files()) {
    const auto file = GgufFile::open(path);
    const std::string original = slurp(path);
    const auto in_memory = gguf_bytes(file->metadata(), tensors_of(*file));
    EXPECT(std::ranges::equal(in_memory, as_bytes(original)));
    write_gguf(folder.file("out.gguf"), file->metadata(), tensors_of(*file));
    EXPECT(slurp(folder.file("out.gguf")) == original);
    ++n;
  }
  EXPECT(n >= 2);
  std::printf("     %zu files\n", n);
}

TEST(every_value_type_and_array_survives) {
  Metadata metadata;
  metadata.set("u8", uint8_t{255});
  metadata.set("i8", int8_t{-128});
  metadata.set("bool", false);
  metadata.set("text", std::string("a\0\xff", 3));
  metadata.set("f64", -0.0);
  metadata.set("array.u8", Array::of<uint8_t>({1, 2, 3}));
  metadata.set("array.i8", Array::of<int8_t>({-1}));
  metadata.set("array.u16", Array::of<uint16_t>({65535}));
  metadata.set("array.i16", Array::of<int16_t>({-32768}));
  metadata.set("array.u32", Array::of<uint32_t>({1u << 31}));
  metadata.set("array.i32", Array::of<int32_t>({}));
  metadata.set("array.f32", Array::of<float>({0.5f, -1}));
  metadata.set("array.bool", Array::of<bool>({true, false}));
  metadata.set("array.u64", Array::of<uint64_t>({UINT64_MAX}));
  metadata.set("array.i64", Array::of<int64_t>({INT64_MIN}));
  metadata.set("array.f64", Array::of<double>({1e300}));
  metadata.set("texts", StringArray{"", "a", std::string_view("b\0c", 3)});
  metadata.set("no texts", StringArray());
  const auto bytes = gguf_bytes(metadata, {});
  EXPECT(GgufFile::from_bytes(bytes, nullptr)->metadata() == metadata);
}

TEST(data_may_come_in_any_pieces) {
  const Folder folder("pieces");
  const auto file = GgufFile::open(kTiny);
  Writer writer(folder.file("out.gguf"), file->metadata());
  for (const TensorData& tensor : tensors_of(*file)) writer.declare(tensor.spec);
  size_t piece = 1;
  for (const TensorData& tensor : tensors_of(*file)) {
    for (auto rest = tensor.bytes; !rest.empty();
         rest = rest.subspan(std::min(piece, rest.size()))) {
      writer.append(rest.first(std::min(piece, rest.size())));
    }
    piece = piece * 3 + 1;
  }
  writer.finish();
  EXPECT(slurp(folder.file("out.gguf")) == slurp(kTiny));
}

TEST(the_alignment_of_the_metadata_is_the_layouts) {
  Metadata metadata = one_key();
  metadata.set("general.alignment", 256u);
  const std::vector<std::byte> data(4);
  const TensorData tensors[] = {{{"a", DType::kF32, {1}}, data}, {{"b", DType::kF32, {1}}, data}};
  const auto bytes = gguf_bytes(metadata, tensors);
  const auto file = GgufFile::from_bytes(bytes, nullptr);
  EXPECT_EQ(file->alignment(), 256u);
  EXPECT_EQ(file->find("b")->offset, file->find("a")->offset + 256);
  EXPECT_EQ(bytes.size() % 256, 0u);
  metadata.set("general.alignment", 24u);
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { gguf_bytes(metadata, {}); }), "u32 24"));
  metadata.set("general.alignment", uint64_t{32});
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { gguf_bytes(metadata, {}); }), "u64 32"));
}

TEST(what_no_reader_would_accept_is_not_written) {
  const Folder folder("unfit");
  Writer writer(folder.file("out.gguf"), one_key());
  const auto refusal = [&](TensorSpec spec) {
    return EXPECT_ERROR(kInvalidRequest, { writer.declare(spec); });
  };
  EXPECT(contains(refusal({"", DType::kF32, {1}}), "empty"));
  EXPECT(contains(refusal({std::string(200, 'n'), DType::kF32, {1}}), "too long"));
  EXPECT(contains(refusal({"a", DType::kF32, Shape()}), "shape []"));
  EXPECT(contains(refusal({"a", DType::kF32, {3, 0}}), "shape [3, 0]"));
  EXPECT(contains(refusal({"a", DType::kQ4_0, {2, 48}}), "blocks of 32"));
  writer.declare({"a", DType::kF32, {2}});
  EXPECT(contains(refusal({"a", DType::kF32, {2}}), "twice"));
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { gguf_bytes(Metadata(), {}); }),
                  "a key or a tensor"));
}

TEST(data_must_match_the_declarations) {
  const Folder folder("mismatch");
  Writer writer(folder.file("out.gguf"), one_key());
  const std::vector<std::byte> bytes(12);
  writer.declare({"a", DType::kF32, {2}});
  EXPECT(
      contains(EXPECT_ERROR(kInvalidRequest, { writer.append(bytes); }), "'a' has 8 bytes left"));
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { writer.finish(); }), "'a'"));
  EXPECT_ERROR(kInvalidRequest, { writer.declare({"b", DType::kF32, {2}}); });
  writer.append(std::span(bytes).first(8));
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { writer.append(bytes); }), "beyond the last"));
  writer.finish();
  EXPECT_EQ(GgufFile::open(folder.file("out.gguf"))->tensors().size(), 1u);
  const TensorData short_of_data[] = {{{"a", DType::kF32, {4}}, bytes}};
  EXPECT_ERROR(kInvalidRequest, { gguf_bytes(one_key(), short_of_data); });
  EXPECT_ERROR(kInvalidRequest, { write_gguf(folder.file("x.gguf"), one_key(), short_of_data); });
  EXPECT_EQ(folder.n_files(), 1);
}

TEST(a_file_appears_only_when_it_is_complete) {
  const Folder folder("complete");
  std::ofstream(folder.file("out.gguf")) << "what was there";
  {
    Writer writer(folder.file("out.gguf"), one_key());
    writer.declare({"a", DType::kF32, {2}});
    writer.append(std::vector<std::byte>(4));
    EXPECT_EQ(slurp(folder.file("out.gguf")), "what was there");
    EXPECT_EQ(folder.n_files(), 2);
  }
  EXPECT_EQ(slurp(folder.file("out.gguf")), "what was there");
  EXPECT_EQ(folder.n_files(), 1);
}

TEST(two_writers_of_one_path_do_not_disturb_each_other) {
  const Folder folder("two");
  Writer a(folder.file("out.gguf"), one_key());
  Writer b(folder.file("out.gguf"), one_key());
  a.finish();
  b.finish();
  EXPECT_EQ(GgufFile::open(folder.file("out.gguf"))->metadata().size(), 1u);
  EXPECT_EQ(folder.n_files(), 1);
}

TEST(a_folder_that_is_not_there_is_an_io_error) {
  const auto message = EXPECT_ERROR(kIo, { Writer("no such folder/out.gguf", one_key()); });
  EXPECT(contains(message, "no such folder"));
}

TEST(a_disk_without_room_is_an_io_error_and_leaves_nothing) {
  const Folder folder("full");
  rlimit limit;
  EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit small{65536, limit.rlim_max};  // stands in for a full disk: write() fails there
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::vector<std::byte> data(1 << 20);
  const TensorData tensors[] = {{{"a", DType::kF32, {1 << 18}}, data}};
  const auto message =
      EXPECT_ERROR(kIo, { write_gguf(folder.file("out.gguf"), one_key(), tensors); });
  EXPECT(contains(message, "cannot write"));
  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(folder.n_files(), 0);
}
