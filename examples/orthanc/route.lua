-- A series that has been complete for StableAge seconds goes to mmcaf; what mmcaf sends back is of other modalities.
local ANSWERED = {CT = true, MR = true, CR = true, DX = true}

function OnStableSeries(series, tags, metadata)
  if ANSWERED[tags['Modality']] then
    RestApiPost('/modalities/mmcaf/store', '{"Resources": ["' .. series .. '"], "Synchronous": false}')
  end
end
