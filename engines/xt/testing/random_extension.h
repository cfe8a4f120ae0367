// Any choices as a match or target that the twins know.
#pragma once

#include "compat/model/testing/choices.h"
#include "engines/xt/registry.h"

namespace nfarena::testing {

/// Of the right name, revision and size; what is inside is whatever comes.
inline Extension RandomExtension(Family family, bool target, Choices* choices) {
  const auto pick = [&](const auto& all) {
    size_t at = choices->Below(all.size());
    while (!(family == Family::kIpv4 ? all[at].ipv4 : all[at].ipv6)) {
      at = (at + 1) % all.size();
    }
    Extension extension{.name = std::string(all[at].name),
                        .revision = all[at].revision};
    extension.payload = choices->Take(all[at].payload_size);
    extension.user_size = static_cast<uint16_t>(extension.payload.size());
    extension.payload.resize((extension.payload.size() + 7) / 8 * 8);
    return extension;
  };
  return target ? pick(XtTargets()) : pick(XtMatches());
}

}  // namespace nfarena::testing
