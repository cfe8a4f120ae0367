#include <algorithm>

#include "engines/core/tracker.h"
#include "engines/reference/question.h"
#include "engines/reference/view.h"

namespace nfarena::reference {

bool Holds(const HelperMatch& helper, const Question&) {
  // The twins' tracker reads no payload, so no helper expects anything.
  return helper.inverted;
}

namespace {

bool WayBack4(const RpfilterMatch& rpfilter, const PacketState& packet,
              std::string_view in) {
  const Topology& topology = *packet.topology;
  const Address source = SourceOf(packet);
  const AddressType type = topology.TypeOf(source);
  if (type == AddressType::kLocal) {
    return rpfilter.accept_local &&
           (rpfilter.loose ||
            topology.TypeOf(source, in) == AddressType::kLocal);
  }
  if (type != AddressType::kUnicast) return false;
  const RouteDecision way = topology.FindRoute("", Address{}, source);
  if (!way.ok || way.local) return false;
  return rpfilter.loose || way.out == in;
}

bool WayBack6(const RpfilterMatch& rpfilter, const PacketState& packet,
              std::string_view in) {
  const Topology& topology = *packet.topology;
  const Address source = SourceOf(packet);
  if (topology.IsLocal(source)) return rpfilter.accept_local;
  if (topology.TypeOf(source) == AddressType::kAnycast) return false;
  const RouteDecision way = topology.FindRoute("", Address{}, source);
  if (!way.ok || way.local) return false;
  // A link-local sender is looked for on its own link even when loose.
  return (rpfilter.loose && !IsIpv6LinkLocal(source)) || way.out == in;
}

}  // namespace

bool Holds(const RpfilterMatch& rpfilter, const Question& question) {
  const PacketState& packet = question.packet;
  const std::string_view in = DeviceName(packet.in);
  const Address source = SourceOf(packet);
  const Address destination = DestinationOf(packet);
  bool way_back = false;
  if (in == "lo") {
    way_back = true;
  } else if (IsIpv4(packet)) {
    // A host without an address asks everybody for one.
    const bool limited = LoadBe32(destination.data()) == 0xffffffff;
    const bool local_group = LoadBe32(destination.data()) >> 8 == 0xe00000;
    way_back = (source[0] == 0 && (limited || local_group)) ||
               WayBack4(rpfilter, packet, in);
  } else {
    way_back = source == Address{} || WayBack6(rpfilter, packet, in);
  }
  return way_back != rpfilter.inverted;
}

bool Holds(const PolicyMatch& policy, const Question&) { return policy.none; }

bool Holds(const PhysdevMatch& physdev, const Question&) {
  // No packet here crosses a bridge: only inverted questions hold.
  return (physdev.tests & ~physdev.inverted) == 0;
}

bool Holds(const CpuMatch& cpu, const Question& question) {
  return question.Answer((cpu.cpu == 0) != cpu.inverted, false, "cpu");
}

bool Holds(const RealmMatch& realm, const Question&) {
  // No route here has a realm.
  return (realm.id == 0) != realm.inverted;
}

bool Holds(const SocketMatch&, const Question&) {
  // Nobody listens on this host.
  return false;
}

bool Holds(const DevgroupMatch& devgroup, const Question&) {
  // Every device is in group 0.
  const auto holds = [](const DeviceGroupTest& test) {
    return !test.asked || ((test.group & test.mask) == 0) != test.inverted;
  };
  return holds(devgroup.source) && holds(devgroup.destination);
}

}  // namespace nfarena::reference
