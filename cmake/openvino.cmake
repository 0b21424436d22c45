# OpenVINO's C++ runtime, for the parts that are built against it. Sets MMCAF_OPENVINO_RELEASE, such as 2026.4.1; where
# there is none, leaves it empty and says why in MMCAF_OPENVINO_MISSING.
#
# It is that of the Python that builds, from what its package brings; or another one, by its folder:
#
#   cmake -DMMCAF_OPENVINO=/opt/intel/openvino       which holds OpenVINOConfig.cmake, itself or below

set(MMCAF_OPENVINO "" CACHE PATH "Folder of an OpenVINO to build against; empty: that of the Python environment")
set(MMCAF_OPENVINO_RELEASE)
set(MMCAF_OPENVINO_MISSING)
if(MMCAF_OPENVINO)
  # runtime/cmake is where OpenVINO's archives have it, lib/cmake where Debian's packages do.
  find_package(OpenVINO QUIET CONFIG COMPONENTS Runtime Threading NO_DEFAULT_PATH
    PATHS "${MMCAF_OPENVINO}" PATH_SUFFIXES cmake runtime/cmake)
  if(NOT OpenVINO_FOUND)
    set(MMCAF_OPENVINO_MISSING "MMCAF_OPENVINO is ${MMCAF_OPENVINO}, where no OpenVINOConfig.cmake is")
    return()
  endif()
  set(release "${OpenVINO_VERSION}")
else()
  find_package(Python COMPONENTS Interpreter)
  set(script
      "from importlib.metadata import version; from importlib.util import find_spec
print(version('openvino'), find_spec('openvino').submodule_search_locations[0], sep=';', end='')")
  set(found)
  if(Python_Interpreter_FOUND)
    execute_process(COMMAND "${Python_EXECUTABLE}" -c "${script}" OUTPUT_VARIABLE found ERROR_QUIET)
  endif()
  if(NOT found)
    set(MMCAF_OPENVINO_MISSING "${Python_EXECUTABLE} has no package openvino")
    return()
  endif()
  list(GET found 0 release)
  list(GET found 1 folder)
  find_package(OpenVINO QUIET CONFIG COMPONENTS Runtime Threading PATHS "${folder}/cmake" NO_DEFAULT_PATH)
  if(NOT OpenVINO_FOUND)
    set(MMCAF_OPENVINO_MISSING "openvino ${release} in ${folder} has no C++ headers")
    return()
  endif()
endif()
string(REGEX MATCH "^[0-9]+\\.[0-9]+\\.[0-9]+" MMCAF_OPENVINO_RELEASE "${release}")
if(NOT MMCAF_OPENVINO_RELEASE)
  set(MMCAF_OPENVINO_MISSING "openvino says that its version is ${release}")
endif()
