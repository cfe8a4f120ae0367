#include "bench/result/result_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "bench/result/environment.h"
#include "engines/registry.h"

namespace nfarena {

ResultFile::ResultFile(std::filesystem::path path, const std::string& kind,
                       const std::vector<std::string>& command)
    : path_(std::move(path)),
      json_{{"schema", "nfarena-result"},
            {"version", kResultVersion},
            {"kind", kind},
            {"complete", false},
            {"command", command},
            {"environment", Environment()},
            {"engines", nlohmann::json::array()},
            {"cases", nlohmann::json::array()},
            {"skipped", nlohmann::json::array()}} {
  for (const Engine* engine : Engines()) {
    const Status available = engine->Available();
    json_["engines"].push_back(
        {{"name", engine->name()},
         {"kind", engine->kind() == EngineKind::kTwin ? "twin" : "kernel"},
         {"description", engine->description()},
         {"checked_against", engine->checked_against()},
         {"available", available.has_value()},
         {"reason", available ? "" : available.error().message}});
  }
}

void ResultFile::Skip(const std::string& what, const std::string& reason) {
  json_["skipped"].push_back({{"what", what}, {"reason", reason}});
}

Status ResultFile::Save() {
  return WriteWholeFile(
      path_,
      json_.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) +
          "\n");
}

Status ResultFile::Finish() {
  json_["complete"] = true;
  return Save();
}

Status WriteWholeFile(const std::filesystem::path& path,
                      std::string_view text) {
  const std::string temporary =
      fmt::format("{}.{}.tmp", path.string(), getpid());
  const auto fail = [&](const char* what) {
    const int error = errno;
    ::unlink(temporary.c_str());
    return Fail(ErrorCode::kSystem, what, {.file = path.string()}, error);
  };
  FILE* file = std::fopen(temporary.c_str(), "wbe");
  if (file == nullptr) return fail("cannot be written");
  const bool written =
      std::fwrite(text.data(), 1, text.size(), file) == text.size() &&
      std::fflush(file) == 0 && ::fsync(::fileno(file)) == 0;
  const bool closed = std::fclose(file) == 0;
  if (!written || !closed) return fail("cannot be written");
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    return fail("cannot be renamed into place");
  }
  return {};
}

}  // namespace nfarena
