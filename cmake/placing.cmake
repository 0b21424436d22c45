# The state of what puts this project's operators into a network of OpenVINO, as mmcaf_kernels.cpu.extension.placing tells
# it: kept engines are told apart by it, also by programs without Python.
#
#   cmake -D MMCAF_PLACING_OF=kernels/mmcaf_kernels -P cmake/placing.cmake     prints it

function(mmcaf_placing package result)
  set(listed "")
  foreach(part cpu/openvino graph graph/fusions)
    file(GLOB sources "${package}/${part}/*.py")
    foreach(source IN LISTS sources)
      get_filename_component(name "${source}" NAME)
      file(SHA256 "${source}" digest)
      string(APPEND listed "${name} ${digest}\n")
    endforeach()
    if(NOT CMAKE_SCRIPT_MODE_FILE)
      set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${sources})
    endif()
  endforeach()
  string(SHA256 digest "${listed}")
  set(${result} "${digest}" PARENT_SCOPE)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE)
  mmcaf_placing("${MMCAF_PLACING_OF}" digest)
  message(NOTICE "${digest}")
endif()
