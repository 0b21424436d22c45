"""What is written for each image by hand: the same as pydicom and pynetdicom write element by element."""

from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from mmcaf_engine.service.dimse.encoding import meta_information, store_answer

pytest.importorskip("pynetdicom")
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import create_file_meta, encode_file_meta


@pytest.mark.parametrize("instance", ["1.2.3", "1.2.34", "1." + "2" * 62])
def test_meta_information_is_pynetdicoms(instance: str) -> None:
    ours = meta_information(CTImageStorage, instance, ExplicitVRLittleEndian, "1.2.826.0.1", "ODD")
    theirs = create_file_meta(
        sop_class_uid=CTImageStorage,
        sop_instance_uid=instance,
        transfer_syntax=ExplicitVRLittleEndian,
        implementation_uid="1.2.826.0.1",
        implementation_version="ODD",
    )
    assert ours == b"\0" * 128 + b"DICM" + encode_file_meta(theirs)
    assert dcmread(BytesIO(ours)).file_meta == theirs


@pytest.mark.parametrize("status", [0x0000, 0x0111, 0xA700, 0xC000])
@pytest.mark.parametrize("instance", ["1.2.3", "1.2.34"])
def test_an_answer_is_pynetdicoms(instance: str, status: int) -> None:
    primitive = C_STORE()
    primitive.MessageIDBeingRespondedTo, primitive.Status = 513, status
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = CTImageStorage, instance
    message = C_STORE_RSP()
    message.primitive_to_message(primitive)
    [theirs] = message.encode_msg(1, 0)
    assert theirs.presentation_data_value_list == [(1, store_answer(CTImageStorage, instance, 513, status))]


def test_what_is_no_ascii_is_not_written() -> None:
    with pytest.raises(UnicodeEncodeError):
        meta_information("1.2", "1.\u0663", "1.2", "1.2", "A")
    with pytest.raises(UnicodeEncodeError):
        store_answer("1.2", "1.\u0663", 1, 0)
