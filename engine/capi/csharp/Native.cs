// The functions and structs of mmcaf.h as they are; Mmcaf.cs is what a program uses.

using System;
using System.Runtime.InteropServices;

namespace Mmcaf
{
    static class Native
    {
        const string Library = "libmmcaf.so.1";
        const CallingConvention C = CallingConvention.Cdecl;

        internal const int Int16 = 1, Float32 = 2;

        [UnmanagedFunctionPointer(C)]
        internal delegate void LogFunction(IntPtr user, int level, IntPtr message);

        [UnmanagedFunctionPointer(C)]
        internal delegate int ProgressFunction(IntPtr user, IntPtr stage, UIntPtr done, UIntPtr total);

        [UnmanagedFunctionPointer(C)]
        internal delegate int SliceFunction(IntPtr user, UIntPtr index, IntPtr slice);

        [StructLayout(LayoutKind.Sequential)]
        internal struct OpenOptions
        {
            internal UIntPtr StructSize;
            internal IntPtr Precision;
            internal int Threads;
            internal IntPtr Cache, TrustedKey, Kernels;
            internal int RequireKeptEngine;
            internal LogFunction Log;
            internal ProgressFunction Progress;
            internal IntPtr User;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct Volume
        {
            internal UIntPtr StructSize;
            internal IntPtr Input, Values;
            internal int Type;
            internal UIntPtr Shape0, Shape1, Shape2;
            [MarshalAs(UnmanagedType.ByValArray, SizeConst = 3)] internal double[] Spacing;
            [MarshalAs(UnmanagedType.ByValArray, SizeConst = 3)] internal double[] Origin;
            [MarshalAs(UnmanagedType.ByValArray, SizeConst = 9)] internal double[] Direction;
            internal int Intensity;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct AnswerOptions
        {
            internal UIntPtr StructSize;
            internal IntPtr PatientId, PatientSex;
            internal double PatientAgeYears, PatientWeightKg;
            internal IntPtr StudyUid, SeriesUid, FrameOfReferenceUid, Modality, BodyPart, Instances;
            internal UIntPtr InstanceCount;
            internal int FirstSlice, LastSlice, Stride, AllowIdMismatch, Strict;
            internal double DeadlineSeconds;
            internal IntPtr Created;
            internal ProgressFunction Progress;
            internal IntPtr User, Tokens;
            internal UIntPtr TokenCount;
            internal IntPtr View;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct Instance
        {
            internal IntPtr SopClassUid, SopInstanceUid;
            internal int Frame;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct Error
        {
            internal int Code;
            internal IntPtr Kind, Problem, Remedy, Json;
        }

        internal sealed class NetworkHandle : Handle
        {
            protected override bool ReleaseHandle()
            {
                mmcaf_free_network(handle);
                return true;
            }
        }

        internal sealed class ResultHandle : Handle
        {
            protected override bool ReleaseHandle()
            {
                mmcaf_free_result(handle);
                return true;
            }
        }

        internal abstract class Handle : SafeHandle
        {
            protected Handle() : base(IntPtr.Zero, true) { }

            public override bool IsInvalid => handle == IntPtr.Zero;
        }

        [DllImport(Library, CallingConvention = C)]
        internal static extern void mmcaf_open_options_init(out OpenOptions options, UIntPtr size);

        [DllImport(Library, CallingConvention = C)]
        internal static extern void mmcaf_volume_init(out Volume volume, UIntPtr size);

        [DllImport(Library, CallingConvention = C)]
        internal static extern void mmcaf_answer_options_init(out AnswerOptions options, UIntPtr size);

        internal static UIntPtr SizeOf<T>() => (UIntPtr)Marshal.SizeOf(typeof(T));

        [DllImport(Library, CallingConvention = C)]
        internal static extern Code mmcaf_open(IntPtr bundle, ref OpenOptions options, out NetworkHandle network);

        [DllImport(Library, CallingConvention = C)]
        internal static extern void mmcaf_free_network(IntPtr network);

        [DllImport(Library, CallingConvention = C)]
        internal static extern IntPtr mmcaf_network_json(NetworkHandle network);

        [DllImport(Library, CallingConvention = C)]
        internal static extern Code mmcaf_answer_volume(
            NetworkHandle network, ref Volume volume, IntPtr record, ref AnswerOptions options, out ResultHandle result);

        [DllImport(Library, CallingConvention = C)]
        internal static extern Code mmcaf_answer_series(
            NetworkHandle network, ref Volume series, SliceFunction next, IntPtr user, IntPtr record,
            ref AnswerOptions options, out ResultHandle result);

        [DllImport(Library, CallingConvention = C)]
        internal static extern UIntPtr mmcaf_result_label_count(ResultHandle result);

        [DllImport(Library, CallingConvention = C)]
        internal static extern IntPtr mmcaf_result_label(ResultHandle result, UIntPtr index);

        [DllImport(Library, CallingConvention = C)]
        internal static extern double mmcaf_result_probability(ResultHandle result, UIntPtr index);

        [DllImport(Library, CallingConvention = C)]
        internal static extern IntPtr mmcaf_result_decision(ResultHandle result);

        [DllImport(Library, CallingConvention = C)]
        internal static extern IntPtr mmcaf_result_json(ResultHandle result);

        [DllImport(Library, CallingConvention = C)]
        internal static extern UIntPtr mmcaf_result_warning_count(ResultHandle result);

        [DllImport(Library, CallingConvention = C)]
        internal static extern IntPtr mmcaf_result_warning(ResultHandle result, UIntPtr index);

        [DllImport(Library, CallingConvention = C)]
        internal static extern void mmcaf_free_result(IntPtr result);

        [DllImport(Library, CallingConvention = C)]
        internal static extern IntPtr mmcaf_last_error();
    }
}
