// The processor that runs the network: what it is called, which vector instructions it has, and how many cores are free.
// Kept engines and remembered self-tests are named after these facts, in the same words by the Python engine.
#pragma once

#include <string>
#include <vector>

namespace mmcaf {

struct Processor {
    std::string name;
    std::vector<std::string> instructions;  // vector instruction sets in alphabetical order
};

// This machine's; Linux says its instructions, other systems only its kind.
const Processor &processor();

// Cores that this process may use, which in a container can be fewer than the machine has.
int usable_cores();

struct System {
    std::string name, release, machine;  // such as Linux, 6.1.0, x86_64
};

System operating_system();

}  // namespace mmcaf
